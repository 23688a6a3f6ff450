/**
 * An end-to-end workspace's keys: out of their envelope with a passphrase (protocol/passphrase.py), and the keys that are
 * derived from them (protocol/keys.py).
 */

import { derived } from "./blake3.js";
import { scrypt } from "./scrypt.js";

const FIRST_KEY = 1;
const KEYS_MOST = 256;
const KEY_BYTES = 32;
const NAMES_KEY_BYTES = 64;
const NONCE_BYTES = 12;
const SALT_BYTES = 16;
const R = 8;
const [N_LEAST, N_MOST, P_MOST] = [2 ** 15, 2 ** 20, 4];

/** The passphrase is another one. */
export class WrongPassphrase extends Error {}

/**
 * The keys in an envelope, which is a text of JSON: a Map by their ids. Throws WrongPassphrase, and Error for no envelope.
 */
export async function disclosed(envelope, passphrase, workspace) {
  const { n, r, p, salt, wrapped, later } = checked(JSON.parse(envelope));
  const text = new TextEncoder();
  const wrapping = await scrypt(text.encode(passphrase.normalize("NFC")), salt, n, r, p, KEY_BYTES);
  const key = await crypto.subtle.importKey("raw", wrapping, "AES-GCM", false, ["decrypt"]);
  const opened = new Map();
  try {
    opened.set(FIRST_KEY, await unwrapped(key, wrapped, workspace));
  } catch {
    throw new WrongPassphrase("That is not the passphrase of this workspace.");
  }
  try {
    for (const [keyId, one] of later) opened.set(keyId, await unwrapped(key, one, `${workspace}/${keyId}`));
  } catch {
    throw new Error("A key in this workspace's envelope is not one of its own.");
  }
  if ([...opened.values()].some((one) => one.length !== KEY_BYTES))
    throw new Error("There is no key in this workspace's envelope.");
  return opened;
}

async function unwrapped(key, wrapped, of) {
  const additionalData = new TextEncoder().encode(of);
  const how = { name: "AES-GCM", iv: wrapped.subarray(0, NONCE_BYTES), additionalData };
  return new Uint8Array(await crypto.subtle.decrypt(how, key, wrapped.subarray(NONCE_BYTES)));
}

/** The working keys of a workspace's keys: `{sealing, blockIds, names}`, `sealing` being a Map by their ids. */
export async function workingKeys(keys) {
  const purpose = (key, name, length = KEY_BYTES) => derived(`samedrive 2026 ${name}`, key, length);
  const sealing = new Map();
  for (const [keyId, key] of keys)
    sealing.set(keyId, await crypto.subtle.importKey("raw", purpose(key, "sealing"), "AES-GCM", false, ["decrypt"]));
  const first = keys.get(FIRST_KEY);
  return { sealing, blockIds: purpose(first, "block ids"), names: purpose(first, "names", NAMES_KEY_BYTES) };
}

/** The same bounds as everywhere: a server that changes them can't make guessing cheap or exhaust this device. */
function checked({ kdf, n, r, p, salt, wrapped, later = {} }) {
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
  const others = Object.entries(later).map(([keyId, one]) => [Number(keyId), bytesOf(one)]);
  const found = { n, r, p, salt: bytesOf(salt), wrapped: bytesOf(wrapped), later: others };
  const isKeyId = (one) => Number.isInteger(one) && one > FIRST_KEY && one <= KEYS_MOST;
  if (found.salt.length !== SALT_BYTES || !others.every(([keyId]) => isKeyId(keyId)))
    throw new Error("This workspace's envelope has an unknown form.");
  return found;
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}
