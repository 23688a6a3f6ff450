/** One request whose body's way is told while it is on it: of its own kind, because fetch tells nothing of that. */

import { unanswered } from "./api.js";

export class Transfer {
  #api;
  #onProgress;
  #request = new XMLHttpRequest();

  /** `onProgress` is called with the bytes that have left. */
  constructor(api, onProgress) {
    this.#api = api;
    this.#onProgress = onProgress;
  }

  /** The request, once it is answered; throws Problem, or AbortError where it was stopped. */
  run(method, path, headers, content) {
    const request = this.#request;
    return new Promise((resolve, reject) => {
      request.upload.onprogress = ({ loaded }) => this.#onProgress(loaded);
      request.onload = () => {
        if (request.status < 300) resolve(request);
        else reject(this.#api.refused(request.status, request.responseText));
      };
      request.onerror = () => reject(unanswered());
      request.onabort = () => reject(new DOMException("stopped", "AbortError"));
      request.open(method, `/v1${path}`);
      const all = { ...this.#api.authority, ...headers };
      for (const [name, value] of Object.entries(all)) request.setRequestHeader(name, value);
      this.#onProgress(0);
      request.send(content);
    });
  }

  stop() {
    this.#request.abort();
  }
}
