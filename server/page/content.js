/**
 * Content for the page: addresses for pictures and media, texts, blobs, downloads.
 *
 * Addresses work because the service worker (worker.js) gives them the authority; it asks here. Where there is none (a
 * page that was opened over plain HTTP from another machine, or reloaded past the cache) content is fetched whole, up
 * to WHOLE_MOST bytes, and shown from a blob: without seeking in what isn't loaded. What needs no authority, through a
 * link without a password, has an address that works by itself.
 *
 * A file is never opened as a document of this site: HTML is shown as its text, SVG as a picture, in which nothing
 * runs.
 */

import { problem, unanswered } from "./api.js";

const WHOLE_MOST = 256 * 1024 * 1024;
const READY_MS = 3000;
const RANGE_OF_NOTHING = 416;

export class Content {
  #api;
  #expected = new Set();
  #onFailure;

  /** `onFailure` is told of downloads that failed. */
  constructor(api, onFailure) {
    this.#api = api;
    this.#onFailure = onFailure;
  }

  /** Put the service worker in place. Returns when it works, or it is known that none will. */
  async start() {
    const workers = navigator.serviceWorker;
    if (workers === undefined) return;
    workers.addEventListener("message", (event) => this.#told(event));
    workers.startMessages();
    try {
      await workers.register(scriptAddress(), { updateViaCache: "none" });
      if (workers.controller === null) await controlled(workers);
    } catch {
      // Without one, see above.
    }
  }

  /** An address for <img>, <audio> or <video>; `release` it when it isn't shown any more. Throws Problem. */
  async source(url, type) {
    if (this.#isReachedByAddress) return { url, release() {} };
    return this.blob(url, type);
  }

  get #isReachedByAddress() {
    return Boolean(navigator.serviceWorker?.controller) || this.#authority === null;
  }

  get #authority() {
    return this.#api.authority.Authorization ?? null;
  }

  /** The whole content as an address in this page. Throws Problem. */
  async blob(url, type) {
    const response = await this.#api.send("GET", url.slice("/v1".length));
    const length = Number(response.headers.get("Content-Length") ?? 0);
    if (length > WHOLE_MOST) {
      await response.body.cancel();
      throw new Error("This file is too large to be shown here: download it.");
    }
    const address = URL.createObjectURL(new Blob([await response.arrayBuffer()], { type }));
    return { url: address, release: () => URL.revokeObjectURL(address) };
  }

  /** The first bytes of a content. Throws Problem. */
  async bytes(url, most) {
    try {
      const response = await this.#api.send("GET", url.slice("/v1".length), {
        headers: { Range: `bytes=0-${most - 1}` },
      });
      return new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      if (error.status === RANGE_OF_NOTHING) return new Uint8Array();
      throw error;
    }
  }

  /** Begin a download, by the browser where the service worker helps. Throws Problem. */
  async download(url, name) {
    if (this.#isReachedByAddress) {
      if (!navigator.serviceWorker?.controller) await this.#api.send("HEAD", url.slice("/v1".length));
      this.#expected.add(new URL(url, location.href).href);
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "Download";
      frame.src = url;
      document.body.append(frame);
      setTimeout(() => frame.remove(), 60_000);
      return;
    }
    const { url: address, release } = await this.blob(url, "application/octet-stream");
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
    setTimeout(release, 60_000);
  }

  #told({ data, ports }) {
    if (data.media !== undefined) ports[0].postMessage({ authority: this.#authority });
    if (data.download !== undefined)
      ports[0].postMessage(this.#expected.delete(data.download) ? { authority: this.#authority } : null);
    if (data.failed !== undefined) this.#onFailure(data.status === 0 ? unanswered() : problem(data.status, data.text));
  }
}

function scriptAddress() {
  const address = "/worker.js";
  return window.trustedTypes?.createPolicy("worker", { createScriptURL: () => address }).createScriptURL("") ?? address;
}

function controlled(workers) {
  return new Promise((resolve) => {
    workers.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(resolve, READY_MS);
  });
}
