/**
 * How a file's bytes reach the server: one sending of one file, which can be stopped and gone on with.
 *
 * This is the one module that knows the protocol of uploads, tus 1.0.0 (plainsending.js is for whoever has a link).
 * What has arrived stays at the server for days, and is asked for before more is sent. Where an upload of a large file
 * is, is remembered in this browser: who closes the page and picks the file again goes on with it.
 */

import { binary } from "./paths.js";
import { Transfer } from "./transfer.js";

/** What may happen where the name is taken, as Upload-Metadata says it. */
export const REFUSE = { ifNoneMatch: "*" };
export const REPLACE = {};

const VERSION = { "Tus-Resumable": "1.0.0" };
const SMALL_BYTES = 256 * 1024;

export class Sending {
  #api;
  #workspace;
  #path;
  #file;
  #condition;
  #transfer = null;
  #isStopped = false;
  /** Below "/v1"; null where the server knows nothing of it. */
  #upload;

  /** `path` is percent-encoded; `onProgress` is called with the bytes that have left. */
  constructor(api, workspace, path, file, condition, onProgress) {
    this.#api = api;
    this.#workspace = workspace;
    this.#path = path;
    this.#file = file;
    this.#condition = condition;
    this.onProgress = onProgress;
    this.#upload = localStorage.getItem(this.#key);
  }

  /** Send all that isn't there yet; throws Problem, or AbortError where it was stopped. */
  async run() {
    this.#isStopped = false;
    if (this.#file.size <= SMALL_BYTES) {
      await this.#create(this.#file);
      return;
    }
    let offset = this.#upload === null ? null : await this.#arrived();
    if (offset === null) {
      await this.#create();
      offset = 0;
    }
    if (offset < this.#file.size) {
      await this.#send("PATCH", this.#upload, { "Upload-Offset": String(offset) }, this.#file.slice(offset), offset);
    }
    this.#remember(null);
  }

  /** Stop; `run` goes on. */
  stop() {
    this.#isStopped = true;
    this.#transfer?.stop();
  }

  /** Stop for good: the server forgets what has arrived. */
  forget() {
    this.stop();
    const upload = this.#upload;
    this.#remember(null);
    // Where that fails, the server forgets it by itself in some days.
    if (upload !== null) this.#api.send("DELETE", upload, { headers: VERSION }).catch(() => {});
  }

  get #key() {
    const condition = JSON.stringify(this.#condition);
    return `upload ${this.#workspace} ${this.#path} ${this.#file.size} ${this.#file.lastModified} ${condition}`;
  }

  #remember(upload) {
    this.#upload = upload;
    if (upload === null) localStorage.removeItem(this.#key);
    else localStorage.setItem(this.#key, upload);
  }

  async #create(content) {
    const values = {
      path: binary(this.#path),
      mtime: (this.#file.lastModified / 1000).toFixed(3),
      ...this.#condition,
    };
    const headers = {
      "Upload-Length": String(this.#file.size),
      "Upload-Metadata": Object.entries(values)
        .map(([name, value]) => `${name} ${btoa(value)}`)
        .join(),
    };
    const place = await this.#send("POST", `/tus/${this.#workspace}`, headers, content, 0);
    if (content === undefined) this.#remember(place.replace(/^.*?\/v1/, ""));
  }

  /** How many bytes have arrived; null where the server knows nothing of this upload any more. */
  async #arrived() {
    try {
      const response = await this.#api.send("HEAD", this.#upload, { headers: VERSION });
      return Number(response.headers.get("Upload-Offset"));
    } catch (error) {
      if (error.status !== 404) throw error;
      this.#remember(null);
      return null;
    }
  }

  /** The answer's Location. */
  async #send(method, path, named, content, offset) {
    if (this.#isStopped) throw new DOMException("stopped", "AbortError");
    const headers = { ...VERSION, ...named };
    if (content !== undefined) headers["Content-Type"] = "application/offset+octet-stream";
    this.#transfer = new Transfer(this.#api, (bytes) => this.onProgress(offset + bytes));
    return (await this.#transfer.run(method, path, headers, content)).getResponseHeader("Location");
  }
}
