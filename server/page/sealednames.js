/**
 * Names and targets of an end-to-end workspace, sealed and open, as protocol/sealednames.py has them.
 *
 * Sealed ones are as they are on the wire, one character a byte; open ones are bytes. `openName` and `sealName` are
 * inverse of each other.
 */

import { areMarks, splitMarks, withMarks } from "./marks.js";
import { NotSealed, Siv } from "./siv.js";

const NAME_MOST = 255;
const NOT_SEALED = /^~[0-9a-f]{16}$/;

export class SealedNames {
  #siv;
  #kinds;

  constructor(siv, kinds) {
    this.#siv = siv;
    this.#kinds = kinds;
  }

  /** With a names key of 64 bytes. */
  static async of(key) {
    const siv = await Siv.of(key);
    return new SealedNames(siv, { name: await siv.kind("name"), target: await siv.kind("target") });
  }

  async sealName(bytes) {
    const [base, marks] = splitMarks(binary(bytes));
    if (NOT_SEALED.test(base)) return base + marks;
    return base64url(await this.#siv.seal(this.#kinds.name, bytesOf(base))) + marks;
  }

  /** Throws NotSealed. */
  async openName(sealed) {
    const blank = sealed.indexOf(" ");
    const [base, marks] = blank < 0 ? [sealed, ""] : [sealed.slice(0, blank), sealed.slice(blank)];
    if (!areMarks(marks)) throw new NotSealed("This is no sealed name.");
    const isOpen = NOT_SEALED.test(base);
    const plain = isOpen ? base : binary(await this.#siv.open(this.#kinds.name, sealedBytes(base)));
    const name = isOpen ? sealed : withMarks(plain, marks);
    const canBe = name.length > 0 && name.length <= NAME_MOST && name !== "." && name !== ".." && !/[/\0]/.test(name);
    if (!canBe) throw new NotSealed("What was sealed as a name can't be one.");
    const [sameBase, sameMarks] = splitMarks(name);
    if (sameMarks !== marks || sameBase !== plain || (!isOpen && NOT_SEALED.test(plain)))
      throw new NotSealed("A name has another spelling than the one that it is known by.");
    return bytesOf(name);
  }

  /** Throws NotSealed. */
  async openTarget(sealed) {
    const target = await this.#siv.open(this.#kinds.target, sealedBytes(sealed));
    if (target.length === 0 || target.includes(0)) throw new NotSealed("What was sealed as a target can't be one.");
    return target;
  }
}

/** The bytes of a sealed text in its one spelling. */
function sealedBytes(text) {
  if (!/^[A-Za-z0-9_-]+$/.test(text) || text.length % 4 === 1) throw new NotSealed("This is no sealed text.");
  const bytes = bytesOf(atob(text.replaceAll("-", "+").replaceAll("_", "/")));
  if (base64url(bytes) !== text) throw new NotSealed("This is no sealed text.");
  return bytes;
}

function base64url(bytes) {
  return btoa(binary(bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** One character a byte. */
function binary(bytes) {
  return String.fromCharCode(...bytes);
}

function bytesOf(text) {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}
