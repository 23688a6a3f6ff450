/** The keys of an end-to-end workspace that is unlocked: questions to opener.js, which has them. */

import { scriptAddress } from "./scripts.js";

export class Vault {
  #worker = new Worker(scriptAddress("/opener.js"), { type: "module" });
  #asked = new Map();
  #number = 0;

  constructor() {
    this.#worker.addEventListener("message", ({ data: { number, answer, error } }) => {
      const { resolve, reject } = this.#asked.get(number);
      this.#asked.delete(number);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    });
    this.#worker.addEventListener("error", () => this.#end("Encryption does not work in this browser."));
  }

  /** With the keys in an envelope, which is a text. Throws Error for a wrong passphrase. */
  static async unlocked(envelope, passphrase, workspace) {
    const vault = new Vault();
    try {
      await vault.#ask("unlock", { envelope, passphrase, workspace });
      return vault;
    } catch (error) {
      vault.lock();
      throw error;
    }
  }

  /** Forget the keys. */
  lock() {
    this.#worker.terminate();
    this.#end("The workspace is locked.");
  }

  /** The bytes of sealed names, null for those that don't open. */
  openNames(sealed) {
    return this.#ask("openNames", { sealed });
  }

  /** The bytes of a sealed target, or null. */
  openTarget(sealed) {
    return this.#ask("openTarget", { sealed });
  }

  /** The sealed name of bytes. */
  sealName(name) {
    return this.#ask("sealName", { name });
  }

  /** The plain bytes of a block. Throws Error for a damaged one. */
  openBlock(id, sealed) {
    return this.#ask("openBlock", { id, sealed }, [sealed.buffer]);
  }

  #ask(what, question, moved = []) {
    return new Promise((resolve, reject) => {
      this.#number += 1;
      this.#asked.set(this.#number, { resolve, reject });
      this.#worker.postMessage({ number: this.#number, what, ...question }, moved);
    });
  }

  #end(why) {
    for (const { reject } of this.#asked.values()) reject(new Error(why));
    this.#asked.clear();
  }
}
