/**
 * How a file's bytes reach a folder through a link: one request with the whole file. Of one that is stopped or fails
 * nothing is kept, so going on begins anew.
 */

import { Transfer } from "./transfer.js";

export class PlainSending {
  #api;
  #path;
  #file;
  #onProgress;
  #transfer = null;

  /** `path` is below "/v1"; `onProgress` is called with the bytes that have left. */
  constructor(api, path, file, onProgress) {
    this.#api = api;
    this.#path = path;
    this.#file = file;
    this.#onProgress = onProgress;
  }

  /** Send it; throws Problem, or AbortError where it was stopped. */
  async run() {
    this.#transfer = new Transfer(this.#api, this.#onProgress);
    await this.#transfer.run("PUT", this.#path, { "Content-Type": "application/octet-stream" }, this.#file);
  }

  /** Stop; `run` begins anew. */
  stop() {
    this.#transfer?.stop();
  }

  /** Stop for good. */
  forget() {
    this.stop();
  }
}
