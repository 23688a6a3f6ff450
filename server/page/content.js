/**
 * Content for the page: addresses for pictures and media, texts, blobs, downloads.
 *
 * Addresses work because the service worker (worker.js) gives them the authority; it asks here. Where there is none (a
 * page that was opened over plain HTTP from another machine, or reloaded past the cache) content is fetched whole, up
 * to WHOLE_MOST bytes, and shown from a blob: without seeking in what isn't loaded. What needs no authority, through a
 * link without a password, has an address that works by itself.
 *
 * An address of a sealed workspace's content ("/opened/…", sealedworkspace.js) is one of this browser alone: the
 * service worker has it answered here (serving.js), by what is opened block by block.
 *
 * A file is never opened as a document of this site: HTML is shown as its text, SVG as a picture, in which nothing
 * runs.
 */

import { problem, unanswered } from "./api.js";
import { scriptAddress } from "./scripts.js";
import { Serving } from "./serving.js";

const WHOLE_MOST = 256 * 1024 * 1024;
const READY_MS = 3000;
const RANGE_OF_NOTHING = 416;
const OPENED = /^\/opened\/([0-9a-f]{32})\/files\/(.*)$/;

export class Content {
  #api;
  #expected = new Set();
  #sealed = new Map();
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
      await workers.register(scriptAddress("/worker.js"), { updateViaCache: "none" });
      if (workers.controller === null) await controlled(workers);
    } catch {
      // Without one, see above.
    }
  }

  /** Contents of this workspace are opened here from now on. */
  takeOver(workspace) {
    this.#sealed.set(workspace.id, workspace);
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
    const sealed = await this.#opened(url);
    if (sealed !== null) {
      if (sealed.size > WHOLE_MOST) throw new Error("This file is too large to be shown here: download it.");
      return blobAddress(await sealed.bytes(0, sealed.size), type);
    }
    const response = await this.#api.send("GET", url.slice("/v1".length));
    const length = Number(response.headers.get("Content-Length") ?? 0);
    if (length > WHOLE_MOST) {
      await response.body.cancel();
      throw new Error("This file is too large to be shown here: download it.");
    }
    return blobAddress(await response.arrayBuffer(), type);
  }

  /** The first bytes of a content. Throws Problem. */
  async bytes(url, most) {
    const sealed = await this.#opened(url);
    if (sealed !== null) return sealed.bytes(0, most);
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

  /** The content of a sealed workspace that an address is of; null for what the server answers. Throws Problem. */
  async #opened(url) {
    const { pathname, searchParams } = new URL(url, location.href);
    const [, workspace, path] = OPENED.exec(pathname) ?? [];
    const found = this.#sealed.get(workspace);
    return found === undefined ? null : found.contentAt(path, searchParams.get("version") ?? undefined);
  }

  async #serve({ opened: url, range, isDownload }, port) {
    if (isDownload && !this.#expected.delete(url)) {
      port.postMessage(null);
      return;
    }
    const onFailure = isDownload ? this.#onFailure : () => {};
    try {
      new Serving(await this.#opened(url), port, onFailure).begin(range, isDownload);
    } catch (error) {
      port.postMessage({ status: 0 });
      onFailure(error);
    }
  }

  #told({ data, ports }) {
    if (data.media !== undefined) ports[0].postMessage({ authority: this.#authority });
    if (data.download !== undefined)
      ports[0].postMessage(this.#expected.delete(data.download) ? { authority: this.#authority } : null);
    if (data.opened !== undefined) this.#serve(data, ports[0]);
    if (data.failed !== undefined) this.#onFailure(data.status === 0 ? unanswered() : problem(data.status, data.text));
  }
}

function blobAddress(content, type) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  return { url: address, release: () => URL.revokeObjectURL(address) };
}

function controlled(workers) {
  return new Promise((resolve) => {
    workers.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(resolve, READY_MS);
  });
}
