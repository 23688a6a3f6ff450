/**
 * BLAKE3, keyed and for deriving keys. Pure.
 *
 * Plain: one chunk after the other, joined as the specification's tree has them. A block of a file, 4 MiB at most, takes
 * some tens of milliseconds.
 */

const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const ROUNDS = 7;
const BLOCK_BYTES = 64;
const CHUNK_BYTES = 1024;

const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;
const KEYED = 16;
const CONTEXT = 32;
const MATERIAL = 64;

/** Which word each step of a round mixes in, round after round. */
const SCHEDULE = schedule();

/** The 32 bytes of a keyed hash. */
export function keyed(key, bytes) {
  return digest(bytes, words(key), KEYED, 32);
}

/** A key of `length` bytes, derived from others for what `context` says. */
export function derived(context, material, length) {
  const key = digest(new TextEncoder().encode(context), IV, CONTEXT, 32);
  return digest(material, words(key), MATERIAL, length);
}

function digest(bytes, key, flags, length) {
  const compressor = new Compressor();
  const waiting = [];
  let at = 0;
  for (let chunk = 0; bytes.length - at > CHUNK_BYTES; chunk += 1) {
    let value = compressor.value(lastOfChunk(compressor, bytes.subarray(at, at + CHUNK_BYTES), chunk, key, flags));
    // As many subtrees are complete now as the number of chunks has zeros at its end.
    for (let total = chunk + 1; total % 2 === 0; total /= 2)
      value = compressor.value(parent(waiting.pop(), value, key, flags));
    waiting.push(value);
    at += CHUNK_BYTES;
  }
  let node = lastOfChunk(compressor, bytes.subarray(at), at / CHUNK_BYTES, key, flags);
  while (waiting.length > 0) node = parent(waiting.pop(), compressor.value(node), key, flags);
  return output(compressor, node, length);
}

/** The node that a chunk's last block is; those before it are compressed. */
function lastOfChunk(compressor, bytes, counter, key, flags) {
  let value = key;
  let start = CHUNK_START;
  let at = 0;
  for (; bytes.length - at > BLOCK_BYTES; at += BLOCK_BYTES) {
    const block = words(bytes.subarray(at, at + BLOCK_BYTES));
    value = compressor.value({ value, block, counter, length: BLOCK_BYTES, flags: flags | start });
    start = 0;
  }
  const rest = bytes.subarray(at);
  return { value, block: words(rest), counter, length: rest.length, flags: flags | start | CHUNK_END };
}

function parent(left, right, key, flags) {
  const block = new Uint32Array(16);
  block.set(left, 0);
  block.set(right, 8);
  return { value: key, block, counter: 0, length: BLOCK_BYTES, flags: flags | PARENT };
}

function output(compressor, node, length) {
  const bytes = new Uint8Array(Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const state = compressor.compress({ ...node, counter: at / BLOCK_BYTES, flags: node.flags | ROOT });
    for (let word = 0; word < 8; word += 1) {
      view.setUint32(at + 4 * word, state[word] ^ state[word + 8], true);
      view.setUint32(at + 32 + 4 * word, state[word + 8] ^ node.value[word], true);
    }
  }
  return bytes.slice(0, length);
}

class Compressor {
  #state = new Int32Array(16);

  /** The eight words that go on from a node. */
  value(node) {
    const state = this.compress(node);
    const value = new Uint32Array(8);
    for (let word = 0; word < 8; word += 1) value[word] = state[word] ^ state[word + 8];
    return value;
  }

  /** The sixteen words of the state after all rounds; the next call overwrites them. */
  compress({ value, block, counter, length, flags }) {
    const v = this.#state;
    for (let word = 0; word < 8; word += 1) v[word] = value[word];
    for (let word = 0; word < 4; word += 1) v[word + 8] = IV[word];
    v[12] = counter;
    v[13] = counter / 2 ** 32;
    v[14] = length;
    v[15] = flags;
    for (let at = 0; at < 16 * ROUNDS; at += 16) {
      mix(v, 0, 4, 8, 12, block[SCHEDULE[at]], block[SCHEDULE[at + 1]]);
      mix(v, 1, 5, 9, 13, block[SCHEDULE[at + 2]], block[SCHEDULE[at + 3]]);
      mix(v, 2, 6, 10, 14, block[SCHEDULE[at + 4]], block[SCHEDULE[at + 5]]);
      mix(v, 3, 7, 11, 15, block[SCHEDULE[at + 6]], block[SCHEDULE[at + 7]]);
      mix(v, 0, 5, 10, 15, block[SCHEDULE[at + 8]], block[SCHEDULE[at + 9]]);
      mix(v, 1, 6, 11, 12, block[SCHEDULE[at + 10]], block[SCHEDULE[at + 11]]);
      mix(v, 2, 7, 8, 13, block[SCHEDULE[at + 12]], block[SCHEDULE[at + 13]]);
      mix(v, 3, 4, 9, 14, block[SCHEDULE[at + 14]], block[SCHEDULE[at + 15]]);
    }
    return v;
  }
}

function mix(v, a, b, c, d, x, y) {
  v[a] = v[a] + v[b] + x;
  v[d] = turned(v[d] ^ v[a], 16);
  v[c] = v[c] + v[d];
  v[b] = turned(v[b] ^ v[c], 12);
  v[a] = v[a] + v[b] + y;
  v[d] = turned(v[d] ^ v[a], 8);
  v[c] = v[c] + v[d];
  v[b] = turned(v[b] ^ v[c], 7);
}

function turned(word, bits) {
  return (word >>> bits) | (word << (32 - bits));
}

/** Little-endian words of at most 64 bytes, with zeros behind them. */
function words(bytes) {
  const found = new Uint32Array(Math.max(16, bytes.length / 4));
  for (let at = 0; at < bytes.length; at += 1) found[at >> 2] |= bytes[at] << (8 * (at & 3));
  return found;
}

function schedule() {
  const all = [];
  let round = Array.from({ length: 16 }, (_, word) => word);
  for (let at = 0; at < ROUNDS; at += 1) {
    all.push(...round);
    round = ORDER.map((from) => round[from]);
  }
  return all;
}
