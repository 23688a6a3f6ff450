/** What a person does to items: each asks what has to be asked, does it, says so, and offers to undo it. */

import { agrees, askLine } from "./dialog.js";
import { pickFolder } from "./folderpicker.js";
import * as paths from "./paths.js";
import { count } from "./text.js";

const AT_ONCE_LIMIT = 20;

export class Actions {
  #workspace;
  #notes;
  #content;

  constructor(workspace, notes, content) {
    this.#workspace = workspace;
    this.#notes = notes;
    this.#content = content;
  }

  /** The path of the folder that was made, or null. */
  async newFolder(folder) {
    const name = await askLine("New folder", "Name", { action: "Make it", complaint: paths.complaint });
    if (name === null) return null;
    return this.#tried("The folder was not made", async () => {
      const made = await this.#workspace.makeFolder(paths.below(folder, await this.#workspace.encoded(name)));
      this.#notes.done(`Made the folder ${name}`, () => this.#workspace.remove(made));
      return made.path;
    });
  }

  /** The new path, or null. */
  async rename(item) {
    const name = await askLine("Rename", `New name of ${item.name}`, {
      value: item.name,
      action: "Rename",
      complaint: paths.complaint,
    });
    if (name === null || name === item.name) return null;
    return this.#tried(`${item.name} was not renamed`, async () => {
      const to = paths.below(paths.parent(item.path), await this.#workspace.encoded(name));
      await this.#workspace.move(item.path, to);
      this.#notes.done(`Renamed ${item.name} to ${name}`, () => this.#workspace.move(to, item.path));
      return to;
    });
  }

  /** Ask where to, and move. */
  async move(items) {
    const folder = await pickFolder(this.#workspace, `Move ${named(items)}`, "Move here", paths.parent(items[0].path));
    if (folder !== null) await this.moveTo(items, folder);
  }

  /** Move into a folder. */
  async moveTo(items, folder) {
    const moving = items.filter(
      ({ path, kind }) => paths.parent(path) !== folder && !(kind === "folder" && paths.isWithin(folder, path)),
    );
    if (moving.length === 0) return;
    const moved = [];
    await this.#each(moving, "was not moved", async (item) => {
      const to = paths.below(folder, paths.last(item.path));
      await this.#workspace.move(item.path, to);
      moved.push([item.path, to]);
    });
    if (moved.length === 0) return;
    const where = folder === "" ? this.#workspace.name : this.#workspace.shown(paths.last(folder));
    this.#notes.done(
      `Moved ${moved.length === moving.length ? named(moving) : count(moved.length, "item")} to ${where}`,
      async () => {
        for (const [from, to] of moved.toReversed()) await this.#workspace.move(to, from);
      },
    );
  }

  /** Ask where to, and copy: no content moves for that. */
  async copy(items) {
    const folder = await pickFolder(this.#workspace, `Copy ${named(items)}`, "Copy here", paths.parent(items[0].path));
    if (folder === null) return;
    const made = [];
    await this.#each(items, "was not copied", async (item) => made.push(await this.#copied(item, folder)));
    if (made.length === 0) return;
    this.#notes.done(`Copied ${made.length === items.length ? named(items) : count(made.length, "item")}`, async () => {
      for (const item of made) await this.#workspace.remove(item);
    });
  }

  /** Remove; what was removed is in the trash. */
  async remove(items) {
    const folders = items.filter(({ kind }) => kind === "folder");
    const many = items.length > AT_ONCE_LIMIT || folders.length > 0;
    const text = folders.length > 0 ? "Everything inside goes to the trash, too." : "They go to the trash.";
    if (many && !(await agrees(`Delete ${named(items)}?`, text, "Delete"))) return;
    const removed = [];
    await this.#each(items, "was not deleted", async (item) => {
      await this.#workspace.remove(item);
      removed.push(item);
    });
    if (removed.length === 0) return;
    this.#notes.done(`Deleted ${named(removed)}`, async () => {
      for (const { node } of removed) await this.#workspace.bringBack(node);
    });
  }

  /** Download files as they are, and folders as a zip. */
  async download(items) {
    for (const item of items) {
      const isFolder = item.kind === "folder";
      const url = isFolder ? this.#workspace.archiveUrl(item.path) : this.#workspace.downloadUrl(item.path);
      const name = isFolder ? `${item.name || this.#workspace.name}.zip` : item.name;
      await this.#tried(`${name} was not downloaded`, () => this.#content.download(url, name));
    }
  }

  /** Download a version of a file. */
  downloadVersion(item, version) {
    const url = this.#workspace.downloadUrl(item.path, version);
    return this.#tried(`Version ${version} was not downloaded`, () => this.#content.download(url, item.name));
  }

  /** Let a version be the newest. */
  async restore(item, version) {
    return this.#tried(`${item.name} was not restored`, async () => {
      const restored = await this.#workspace.restore(item.path, version);
      this.#notes.done(`${item.name} is as it was in version ${version}`, () =>
        this.#workspace.restore(item.path, item.version),
      );
      return restored;
    });
  }

  async #copied(item, folder) {
    const name = paths.last(item.path);
    for (let number = 1; ; number += 1) {
      const other = number === 1 ? name : await this.#workspace.encoded(paths.beside(item.name, number));
      try {
        return await this.#workspace.copy(item.path, paths.below(folder, other));
      } catch (error) {
        if (error.status !== 409 || number > 20) throw error;
      }
    }
  }

  async #each(items, what, work) {
    for (const item of items) await this.#tried(`${item.name} ${what}`, () => work(item));
  }

  async #tried(what, work) {
    try {
      return await work();
    } catch (error) {
      this.#notes.failed(what, error);
      return null;
    }
  }
}

function named(items) {
  return items.length === 1 ? items[0].name : count(items.length, "item");
}
