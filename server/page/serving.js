/**
 * A content of a sealed workspace on its way to the service worker, which answers a request of the browser's with it: a
 * part for each "more" that comes through a port, until "enough".
 */

import { kindOf } from "./kinds.js";

const AWAKE_MS = 10_000;
const HARMLESS = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; sandbox",
  "Cache-Control": "no-store",
};

export class Serving {
  #content;
  #port;
  #onFailure;
  #parts;
  #awake;

  /** `content` as sealedcontent.js has it; `onFailure` is told why it broke off. */
  constructor(content, port, onFailure) {
    this.#content = content;
    this.#port = port;
    this.#onFailure = onFailure;
  }

  /** Answer with a status and headers, and wait to be asked for more. `range` is a header's value or null. */
  begin(range, isDownload) {
    const { name, size } = this.#content;
    const found = range === null ? null : rangeOf(range, size);
    const [start, stop] = found ?? [0, size];
    const headers = {
      ...HARMLESS,
      "Content-Type": isDownload ? "application/octet-stream" : kindOf(name).type,
      "Content-Length": String(stop - start),
      "Accept-Ranges": "bytes",
    };
    if (found !== null) headers["Content-Range"] = `bytes ${start}-${stop - 1}/${size}`;
    if (isDownload) headers["Content-Disposition"] = `attachment; filename*=UTF-8''${encoded(name)}`;
    this.#parts = this.#content.read(start, stop);
    this.#awake = setInterval(() => navigator.serviceWorker.controller?.postMessage("awake"), AWAKE_MS);
    this.#port.onmessage = ({ data }) => (data === "more" ? this.#more() : this.#end());
    this.#port.postMessage({ status: found === null ? 200 : 206, headers });
  }

  async #more() {
    try {
      const { value, done } = await this.#parts.next();
      this.#port.postMessage({ bytes: done ? null : value });
      if (done) this.#end();
    } catch (error) {
      this.#port.postMessage({ failed: true });
      this.#onFailure(error);
      this.#end();
    }
  }

  #end() {
    clearInterval(this.#awake);
    this.#parts.return();
  }
}

/** The one range of bytes that a header asks for, as [start, stop]; null where that is none: then all of it is sent. */
export function rangeOf(header, size) {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header) ?? [];
  if (first === undefined || (first === "" && last === "")) return null;
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const stop = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  return start < stop ? [start, stop] : null;
}

function encoded(name) {
  return encodeURIComponent(name.toWellFormed()).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
}
