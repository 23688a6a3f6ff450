/**
 * Opening a sealed block (protocol/sealing.py): the parts of its format that an end-to-end workspace uses.
 *
 * What comes out is the block of the id that was asked for: it was sealed as that by somebody with the key, its length
 * is the header's, and its keyed hash is the id.
 */

import { keyed } from "./blake3.js";

const MAGIC = "SDB1";
const HEADER_BYTES = 12;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const BLOCK_MOST = 4 * 1024 * 1024;
const DEFLATE = 2;

/** These bytes are not the block that they claim to be. */
export class DamagedBlock extends Error {}

/** They are under a key that was not in the envelope: it was added later, or there is none. */
export class LaterKey extends Error {}

/** The plain bytes of the block `id`. `keys` as keys.js derives them. Throws DamagedBlock and LaterKey. */
export async function openBlock(keys, id, sealed) {
  const { flags, keyId, length } = headerOf(sealed);
  const key = keys.sealing.get(keyId);
  if (key === undefined) throw new LaterKey("This is under a key that is not unlocked here: reload the page and unlock the workspace again.");
  const how = {
    name: "AES-GCM",
    iv: sealed.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES),
    additionalData: joined(sealed.subarray(0, HEADER_BYTES), id),
    tagLength: 8 * TAG_BYTES,
  };
  let content;
  try {
    content = new Uint8Array(
      await crypto.subtle.decrypt(how, key, sealed.subarray(HEADER_BYTES + NONCE_BYTES)),
    );
  } catch {
    throw new DamagedBlock("A block of this file does not open: it is damaged.");
  }
  const plain = flags === DEFLATE ? await inflated(content, length) : content;
  if (plain.length !== length || !same(keyed(keys.blockIds, plain), id))
    throw new DamagedBlock("A block of this file is not what it claims to be.");
  return plain;
}

function headerOf(sealed) {
  const isLong = sealed.length >= HEADER_BYTES + NONCE_BYTES + TAG_BYTES;
  if (!isLong || String.fromCharCode(...sealed.subarray(0, 4)) !== MAGIC)
    throw new DamagedBlock("A block of this file has an unknown form.");
  const view = new DataView(sealed.buffer, sealed.byteOffset, HEADER_BYTES);
  const flags = view.getUint8(4);
  const length = view.getUint32(8);
  if ((flags !== 0 && flags !== DEFLATE) || length > BLOCK_MOST)
    throw new DamagedBlock("A block of this file has an unknown form.");
  return { flags, keyId: view.getUint32(4) & 0xffffff, length };
}

/** What a raw DEFLATE stream holds, of exactly `length` bytes: no more than that is kept. */
async function inflated(content, length) {
  const plain = new Uint8Array(length);
  let at = 0;
  try {
    const reader = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (at + part.value.length > length) {
        await reader.cancel();
        throw new DamagedBlock("A block of this file is longer than it claims to be.");
      }
      plain.set(part.value, at);
      at += part.value.length;
    }
  } catch (error) {
    throw error instanceof DamagedBlock ? error : new DamagedBlock("A block of this file does not decompress.");
  }
  return plain.subarray(0, at);
}

function joined(one, other) {
  const all = new Uint8Array(one.length + other.length);
  all.set(one);
  all.set(other, one.length);
  return all;
}

function same(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
