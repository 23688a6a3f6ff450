/**
 * scrypt (RFC 7914): a key from a passphrase, at a cost in memory and time. PBKDF2 is the browser's, the rest is here.
 *
 * It works for a second or more without a pause: to be called in a worker.
 */

const ROUNDS = 8;

/** `length` bytes; `n` is a power of two. Takes 128·n·r bytes of memory. */
export async function scrypt(passphrase, salt, n, r, p, length) {
  const key = await crypto.subtle.importKey("raw", passphrase, "PBKDF2", false, ["deriveBits"]);
  const stretched = (from, bytes) =>
    crypto.subtle
      .deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: from, iterations: 1 }, key, 8 * bytes)
      .then((bits) => new Uint8Array(bits));
  const blocks = await stretched(salt, 128 * r * p);
  const mixing = new Mixing(n, r);
  for (let at = 0; at < blocks.length; at += 128 * r) mixing.mix(blocks.subarray(at, at + 128 * r));
  return stretched(blocks, length);
}

/** scryptROMix, section 5, for blocks of one size. */
class Mixing {
  #n;
  #words;
  #block;
  #other;
  #table;
  #mixed = new Int32Array(16);

  constructor(n, r) {
    this.#n = n;
    this.#words = 32 * r;
    this.#block = new Int32Array(this.#words);
    this.#other = new Int32Array(this.#words);
    this.#table = new Int32Array(n * this.#words);
  }

  /** Replace a block by what it is mixed to. */
  mix(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < this.#words; at += 1) this.#block[at] = view.getInt32(4 * at, true);
    for (let step = 0; step < this.#n; step += 1) {
      this.#table.set(this.#block, step * this.#words);
      this.#mixBlock();
    }
    for (let step = 0; step < this.#n; step += 1) {
      const from = (this.#block[this.#words - 16] & (this.#n - 1)) * this.#words;
      add(this.#block, this.#table, from);
      this.#mixBlock();
    }
    for (let at = 0; at < this.#words; at += 1) view.setInt32(4 * at, this.#block[at], true);
  }

  /** scryptBlockMix, section 4: its even results come first, then the odd ones. */
  #mixBlock() {
    const [block, other, mixed] = [this.#block, this.#other, this.#mixed];
    const half = this.#words / 2;
    mixed.set(block.subarray(this.#words - 16));
    for (let at = 0; at < this.#words; at += 16) {
      for (let word = 0; word < 16; word += 1) mixed[word] ^= block[at + word];
      salsa(mixed);
      other.set(mixed, at / 2 + (at % 32 === 0 ? 0 : half - 8));
    }
    this.#block = other;
    this.#other = block;
  }
}

/** XOR a block with one of the table's. */
function add(block, table, from) {
  for (let at = 0; at < block.length; at += 1) block[at] ^= table[from + at];
}

/** Salsa20/8, section 3, in place. Its words are variables: in an array they take three times as long. */
function salsa(words) {
  let x0 = words[0],
    x1 = words[1],
    x2 = words[2],
    x3 = words[3],
    x4 = words[4],
    x5 = words[5],
    x6 = words[6],
    x7 = words[7],
    x8 = words[8],
    x9 = words[9],
    x10 = words[10],
    x11 = words[11],
    x12 = words[12],
    x13 = words[13],
    x14 = words[14],
    x15 = words[15];
  for (let round = 0; round < ROUNDS; round += 2) {
    x4 ^= turned((x0 + x12) | 0, 7);
    x8 ^= turned((x4 + x0) | 0, 9);
    x12 ^= turned((x8 + x4) | 0, 13);
    x0 ^= turned((x12 + x8) | 0, 18);
    x9 ^= turned((x5 + x1) | 0, 7);
    x13 ^= turned((x9 + x5) | 0, 9);
    x1 ^= turned((x13 + x9) | 0, 13);
    x5 ^= turned((x1 + x13) | 0, 18);
    x14 ^= turned((x10 + x6) | 0, 7);
    x2 ^= turned((x14 + x10) | 0, 9);
    x6 ^= turned((x2 + x14) | 0, 13);
    x10 ^= turned((x6 + x2) | 0, 18);
    x3 ^= turned((x15 + x11) | 0, 7);
    x7 ^= turned((x3 + x15) | 0, 9);
    x11 ^= turned((x7 + x3) | 0, 13);
    x15 ^= turned((x11 + x7) | 0, 18);
    x1 ^= turned((x0 + x3) | 0, 7);
    x2 ^= turned((x1 + x0) | 0, 9);
    x3 ^= turned((x2 + x1) | 0, 13);
    x0 ^= turned((x3 + x2) | 0, 18);
    x6 ^= turned((x5 + x4) | 0, 7);
    x7 ^= turned((x6 + x5) | 0, 9);
    x4 ^= turned((x7 + x6) | 0, 13);
    x5 ^= turned((x4 + x7) | 0, 18);
    x11 ^= turned((x10 + x9) | 0, 7);
    x8 ^= turned((x11 + x10) | 0, 9);
    x9 ^= turned((x8 + x11) | 0, 13);
    x10 ^= turned((x9 + x8) | 0, 18);
    x12 ^= turned((x15 + x14) | 0, 7);
    x13 ^= turned((x12 + x15) | 0, 9);
    x14 ^= turned((x13 + x12) | 0, 13);
    x15 ^= turned((x14 + x13) | 0, 18);
  }
  words[0] += x0;
  words[1] += x1;
  words[2] += x2;
  words[3] += x3;
  words[4] += x4;
  words[5] += x5;
  words[6] += x6;
  words[7] += x7;
  words[8] += x8;
  words[9] += x9;
  words[10] += x10;
  words[11] += x11;
  words[12] += x12;
  words[13] += x13;
  words[14] += x14;
  words[15] += x15;
}

function turned(word, bits) {
  return (word << bits) | (word >>> (32 - bits));
}
