/**
 * AES-SIV (RFC 5297) with one item of associated data: deterministic, and what opens is what was sealed.
 *
 * The browser has AES in modes alone. CMAC (RFC 4493) is the last block but its padding of CBC; the rest is CTR.
 */

const BLOCK_BYTES = 16;
const ZERO = new Uint8Array(BLOCK_BYTES);

/** These bytes were not sealed with this key as what they are taken for. */
export class NotSealed extends Error {}

export class Siv {
  #mac;
  #encryption;
  /** The first subkey of CMAC and that of texts that are padded. */
  #subkeys;

  constructor(mac, encryption, subkeys) {
    this.#mac = mac;
    this.#encryption = encryption;
    this.#subkeys = subkeys;
  }

  /** With a key of 64 bytes. */
  static async of(key) {
    const mac = await crypto.subtle.importKey("raw", key.subarray(0, 32), "AES-CBC", false, ["encrypt"]);
    const encryption = await crypto.subtle.importKey("raw", key.subarray(32), "AES-CTR", false, ["encrypt"]);
    const first = doubled(await lastOfCbc(mac, ZERO));
    return new Siv(mac, encryption, [first, doubled(first)]);
  }

  /** What a text says of its kind to both ways; made once for each kind. */
  async kind(name) {
    return xored(doubled(await this.#cmac(ZERO)), await this.#cmac(new TextEncoder().encode(name)));
  }

  async seal(kind, plain) {
    const tag = await this.#tag(kind, plain);
    const sealed = new Uint8Array(BLOCK_BYTES + plain.length);
    sealed.set(tag);
    sealed.set(await this.#counted(tag, plain), BLOCK_BYTES);
    return sealed;
  }

  /** Throws NotSealed. */
  async open(kind, sealed) {
    if (sealed.length < BLOCK_BYTES) throw new NotSealed("This is too short.");
    const tag = sealed.subarray(0, BLOCK_BYTES);
    const plain = await this.#counted(tag, sealed.subarray(BLOCK_BYTES));
    const expected = await this.#tag(kind, plain);
    if (expected.some((byte, at) => byte !== tag[at])) throw new NotSealed("This does not open with this key.");
    return plain;
  }

  /** S2V, section 2.4. */
  #tag(kind, plain) {
    if (plain.length < BLOCK_BYTES) return this.#cmac(xored(doubled(kind), padded(plain)));
    const last = plain.slice();
    const from = plain.length - BLOCK_BYTES;
    last.set(xored(last.subarray(from), kind), from);
    return this.#cmac(last);
  }

  async #counted(tag, bytes) {
    const counter = tag.slice();
    counter[8] &= 0x7f;
    counter[12] &= 0x7f;
    const how = { name: "AES-CTR", counter, length: 64 };
    return new Uint8Array(await crypto.subtle.encrypt(how, this.#encryption, bytes));
  }

  #cmac(bytes) {
    const isWhole = bytes.length > 0 && bytes.length % BLOCK_BYTES === 0;
    const from = Math.max(0, isWhole ? bytes.length - BLOCK_BYTES : bytes.length - (bytes.length % BLOCK_BYTES));
    const last = bytes.subarray(from);
    const all = new Uint8Array(from + BLOCK_BYTES);
    all.set(bytes.subarray(0, from));
    all.set(isWhole ? xored(last, this.#subkeys[0]) : xored(padded(last), this.#subkeys[1]), from);
    return lastOfCbc(this.#mac, all);
  }
}

async function lastOfCbc(key, bytes) {
  const all = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CBC", iv: ZERO }, key, bytes));
  return all.slice(bytes.length - BLOCK_BYTES, bytes.length);
}

/** Times two in the field of 2^128 elements. */
function doubled(block) {
  const result = block.map((byte, at) => (byte << 1) | ((block[at + 1] ?? 0) >> 7));
  if (block[0] & 0x80) result[BLOCK_BYTES - 1] ^= 0x87;
  return result;
}

function padded(bytes) {
  const block = new Uint8Array(BLOCK_BYTES);
  block.set(bytes);
  block[bytes.length] = 0x80;
  return block;
}

function xored(one, other) {
  return one.map((byte, at) => byte ^ other[at]);
}
