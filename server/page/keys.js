/**
 * An end-to-end workspace's key: out of its envelope with a passphrase (protocol/passphrase.py), and the keys that are
 * derived from it (protocol/keys.py).
 */

import { derived } from "./blake3.js";
import { scrypt } from "./scrypt.js";

const KEY_BYTES = 32;
const NAMES_KEY_BYTES = 64;
const NONCE_BYTES = 12;
const SALT_BYTES = 16;
const R = 8;
const [N_LEAST, N_MOST, P_MOST] = [2 ** 15, 2 ** 20, 4];

/** The passphrase is another one. */
export class WrongPassphrase extends Error {}

/** The key in an envelope, which is a text of JSON. Throws WrongPassphrase, and Error for no envelope. */
export async function disclosed(envelope, passphrase, workspace) {
  const { n, r, p, salt, wrapped } = checked(JSON.parse(envelope));
  const text = new TextEncoder();
  const wrapping = await scrypt(text.encode(passphrase.normalize("NFC")), salt, n, r, p, KEY_BYTES);
  const key = await crypto.subtle.importKey("raw", wrapping, "AES-GCM", false, ["decrypt"]);
  const how = { name: "AES-GCM", iv: wrapped.subarray(0, NONCE_BYTES), additionalData: text.encode(workspace) };
  let opened;
  try {
    opened = await crypto.subtle.decrypt(how, key, wrapped.subarray(NONCE_BYTES));
  } catch {
    throw new WrongPassphrase("That is not the passphrase of this workspace.");
  }
  if (opened.byteLength !== KEY_BYTES) throw new Error("There is no key in this workspace's envelope.");
  return new Uint8Array(opened);
}

/** The working keys of a workspace key: `{keyId, sealing, blockIds, names}`. */
export async function workingKeys(workspaceKey, keyId) {
  const purpose = (name, length = KEY_BYTES) => derived(`samedrive 2026 ${name}`, workspaceKey, length);
  return {
    keyId,
    sealing: await crypto.subtle.importKey("raw", purpose("sealing"), "AES-GCM", false, ["decrypt"]),
    blockIds: purpose("block ids"),
    names: purpose("names", NAMES_KEY_BYTES),
  };
}

/** The same bounds as everywhere: a server that changes them can't make guessing cheap or exhaust this device. */
function checked({ kdf, n, r, p, salt, wrapped }) {
  const isPower = Number.isInteger(n) && Number.isInteger(Math.log2(n));
  if (
    kdf !== "scrypt" ||
    !isPower ||
    n < N_LEAST ||
    n > N_MOST ||
    r !== R ||
    !(Number.isInteger(p) && p >= 1 && p <= P_MOST)
  )
    throw new Error("This workspace's passphrase is derived in a way that this page refuses.");
  const found = { n, r, p, salt: bytesOf(salt), wrapped: bytesOf(wrapped) };
  if (found.salt.length !== SALT_BYTES) throw new Error("This workspace's envelope has an unknown form.");
  return found;
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}
