/**
 * An end-to-end workspace: the server has no key to it, so names and contents are opened here, with a passphrase that
 * stays in this page.
 *
 * Paths stay sealed, as the server knows them; `shown` says what a name is. It knows the names that have been seen, and
 * those of a path that a person comes with by `learn`.
 */

import * as paths from "./paths.js";
import { SealedContent } from "./sealedcontent.js";
import { Vault } from "./vault.js";
import { Workspace } from "./workspace.js";

const UTF8 = new TextDecoder();
const UNREADABLE = "(a name that can't be opened)";

export class SealedWorkspace extends Workspace {
  isSealed = true;
  #vault = null;
  #names = new Map();

  get isLocked() {
    return this.#vault === null;
  }

  /** Get its key with a passphrase; throws Problem, and Error for a wrong one. */
  async unlock(passphrase) {
    const { envelope } = await this.ask("GET", "");
    this.#vault = await Vault.unlocked(atob(envelope), passphrase, this.id);
  }

  /** Forget the key and all names. */
  lock() {
    this.#vault?.lock();
    this.#vault = null;
    this.#names.clear();
  }

  // ── names ──

  shown(name) {
    return this.#names.get(name) ?? UNREADABLE;
  }

  async encoded(name) {
    return paths.encodedBinary(await this.#vault.sealName(new TextEncoder().encode(name.toWellFormed())));
  }

  /** Whether `shown` knows all names of a path. */
  knows(path) {
    return path === "" || path.split("/").every((name) => this.#names.has(name));
  }

  /** Get to know the names of paths. */
  async learn(all) {
    const wanted = [...new Set(all.flatMap((path) => (path === "" ? [] : path.split("/"))))].filter(
      (name) => !this.#names.has(name),
    );
    const opened = await this.#vault.openNames(wanted.map(paths.binary));
    wanted.forEach((name, at) => this.#names.set(name, opened[at] === null ? UNREADABLE : UTF8.decode(opened[at])));
  }

  // ── requests whose answers have names ──

  async *folder(path, signal) {
    for await (const page of super.folder(path, signal)) yield { ...page, items: await this.#opened(page.items) };
  }

  async item(path) {
    return this.#one(await super.item(path));
  }

  async makeFolder(path) {
    return this.#one(await super.makeFolder(path));
  }

  async copy(from, to) {
    return this.#one(await super.copy(from, to));
  }

  async restore(path, version) {
    return this.#one(await super.restore(path, version));
  }

  async history(path, before) {
    const page = await super.history(path, before);
    return { ...page, item: await this.#one(page.item) };
  }

  async trash(after) {
    const page = await super.trash(after);
    return { ...page, items: await this.#opened(page.items) };
  }

  async conflicts() {
    const found = await super.conflicts();
    if (this.isLocked) return found;
    const known = found.flatMap(({ path, original }) => (original ? [path, original.path] : [path]));
    await this.learn(known.map((names) => names.map(paths.encodedBytes).join("/")));
    return found;
  }

  async #one(item) {
    return (await this.#opened([item]))[0];
  }

  async #opened(items) {
    await this.learn(items.map(({ path }) => path));
    return Promise.all(items.map((item) => this.#named(item)));
  }

  async #named(item) {
    const name = item.path === "" ? item.name : this.shown(paths.last(item.path));
    if (item.kind !== "symlink") return { ...item, name };
    const target = await this.#vault.openTarget(item.target);
    return { ...item, name, target: target === null ? UNREADABLE : UTF8.decode(target) };
  }

  // ── contents ──

  /** An address that is answered in this browser: see content.js. */
  contentUrl(path, version) {
    return `/opened/${this.id}/files/${path}${version === undefined ? "" : `?version=${version}`}`;
  }

  downloadUrl(path, version) {
    return this.contentUrl(path, version);
  }

  /** What is at such an address; throws Problem, and Error for what is damaged. */
  async contentAt(path, version) {
    const item = await this.item(path);
    const number = version ?? item.version;
    // Nothing has been written to it yet.
    if (!number) return new SealedContent(this.api, this.base, this.#vault, item.name, Uint8Array.of(1));
    const { manifest } = await this.ask("GET", `/nodes/${item.node}/manifest?version=${number}`);
    const bytes = Uint8Array.from(atob(manifest), (char) => char.charCodeAt(0));
    return new SealedContent(this.api, this.base, this.#vault, item.name, bytes);
  }
}
