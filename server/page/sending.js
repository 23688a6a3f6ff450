/**
 * How a file's bytes reach the server: one sending of one file, which can be stopped and gone on with.
 *
 * This is the one module that knows the protocol of uploads: a plain PUT, whose bytes count when all have arrived. A
 * sending that was stopped therefore begins again; `sentBytes` goes back to 0 then, and the server keeps nothing of it.
 */

import { unanswered } from "./api.js";

/** What may happen where the name is taken. */
export const REFUSE = { "If-None-Match": "*" };
export const REPLACE = {};

export class Sending {
  #api;
  #url;
  #file;
  #request = null;

  /** `onProgress` is called with the bytes that have left. */
  constructor(api, url, file, onProgress) {
    this.#api = api;
    this.#url = url;
    this.#file = file;
    this.onProgress = onProgress;
  }

  /** Send all that isn't there yet. Resolves with the item; throws Problem, or AbortError where it was stopped. */
  run(condition) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.#request = request;
      request.upload.onprogress = ({ loaded }) => this.onProgress(loaded);
      request.onload = () => {
        if (request.status < 300) resolve();
        else reject(this.#api.refused(request.status, request.responseText));
      };
      request.onerror = () => reject(unanswered());
      request.onabort = () => reject(new DOMException("stopped", "AbortError"));
      request.open("PUT", `${this.#url}?parents=1`);
      const headers = { ...this.#api.authority, "Content-Type": "application/octet-stream", ...condition };
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      this.onProgress(0);
      request.send(this.#file);
    });
  }

  /** Stop; `run` goes on. */
  stop() {
    this.#request?.abort();
  }
}
