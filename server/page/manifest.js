/** The content of a version as a list of pieces, each a block or a hole (protocol/manifest.py). Pure. */

const FORMAT = 1;
const ID_BYTES = 32;
const PIECE_BYTES = ID_BYTES + 8;
const BLOCK_MOST = 4 * 1024 * 1024;

/** The pieces: `{id, offset, length}`, with id null for a hole. Throws Error. */
export function pieces(bytes) {
  if (bytes[0] !== FORMAT || (bytes.length - 1) % PIECE_BYTES !== 0)
    throw new Error("The content of this file is listed in an unknown form.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = [];
  let offset = 0;
  for (let at = 1; at < bytes.length; at += PIECE_BYTES) {
    const id = bytes.slice(at, at + ID_BYTES);
    const isHole = id.every((byte) => byte === 0);
    const length = Number(view.getBigUint64(at + ID_BYTES));
    if (length === 0 || (length > BLOCK_MOST && !isHole) || !Number.isSafeInteger(offset + length))
      throw new Error("The content of this file is listed in an unknown form.");
    found.push({ id: isHole ? null : id, offset, length });
    offset += length;
  }
  return found;
}

/** How many bytes these pieces have. */
export function sizeOf(all) {
  const last = all.at(-1);
  return last === undefined ? 0 : last.offset + last.length;
}

/** The parts of pieces that bytes `start` to `stop` are in: yields `{id, from, to}`, within the piece. */
export function* spans(all, start, stop) {
  for (let at = indexAt(all, start); at < all.length && all[at].offset < stop; at += 1) {
    const { id, offset, length } = all[at];
    yield { id, from: Math.max(0, start - offset), to: Math.min(length, stop - offset) };
  }
}

/** The index of the piece that holds an offset, by halving. */
function indexAt(all, offset) {
  let [low, high] = [0, all.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all[middle].offset + all[middle].length <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
