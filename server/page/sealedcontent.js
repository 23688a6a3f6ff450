/**
 * A version of a file of an end-to-end workspace: its plain bytes, from blocks that are fetched and opened one by one.
 *
 * One block is fetched ahead of the one that is read, so that this much is in memory whatever the file's length.
 */

import { pieces, sizeOf, spans } from "./manifest.js";

const HOLE_MOST = 1024 * 1024;

export class SealedContent {
  #api;
  #base;
  #vault;
  #pieces;

  /** `base` is the workspace's, below "/v1"; `manifest` the bytes of one. Throws Error. */
  constructor(api, base, vault, name, manifest) {
    this.#api = api;
    this.#base = base;
    this.#vault = vault;
    this.#pieces = pieces(manifest);
    this.name = name;
    this.size = sizeOf(this.#pieces);
  }

  /** Bytes `start` to `stop`: yields parts of them. Throws Problem, and Error for a damaged block. */
  async *read(start, stop) {
    let ahead = null;
    for (const span of spans(this.#pieces, start, stop)) {
      const next = { span, plain: this.#plain(span) };
      next.plain.catch(() => {}); // Told when it is its turn.
      if (ahead !== null) yield* parts(ahead.span, await ahead.plain);
      ahead = next;
    }
    if (ahead !== null) yield* parts(ahead.span, await ahead.plain);
  }

  /** Bytes `start` to `stop` in one piece. */
  async bytes(start, stop) {
    const all = new Uint8Array(Math.max(0, Math.min(stop, this.size) - start));
    let at = 0;
    for await (const part of this.read(start, stop)) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  async #plain({ id }) {
    if (id === null) return null;
    const name = Array.from(id, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const response = await this.#api.send("GET", `${this.#base}/blocks/${name}`);
    return this.#vault.openBlock(id, new Uint8Array(await response.arrayBuffer()));
  }
}

function* parts({ from, to }, plain) {
  if (plain !== null) {
    yield plain.subarray(from, to);
    return;
  }
  for (let at = from; at < to; at += HOLE_MOST) yield new Uint8Array(Math.min(HOLE_MOST, to - at));
}
