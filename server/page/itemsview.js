/**
 * Items with what can be done to them: the grid, the buttons above it and the keys. What the items are is the matter of
 * those who extend it: filesview.js and searchview.js.
 *
 * What is shown is of the last load that ended.
 */

import { Actions } from "./actions.js";
import { button, h } from "./dom.js";
import { Grid } from "./grid.js";
import { showHistory } from "./history.js";
import { Latest } from "./latest.js";
import { isLinkable, showLinks } from "./links.js";
import * as paths from "./paths.js";
import { address, FILES } from "./place.js";
import { showPreview } from "./preview.js";
import { count } from "./text.js";

export class ItemsView {
  #loading = new Latest(() => this.#load());
  #ended = new AbortController();
  #dragged = [];

  /** `parts` are the page's: content, notes, uploads. */
  constructor(parts, workspace, label, where) {
    this.parts = parts;
    this.workspace = workspace;
    this.actions = new Actions(workspace, parts.notes, parts.content);
    this.grid = new Grid(
      label,
      {
        open: (item) => this.open(item),
        select: (items) => this.#offer(items),
        rename: (item) => this.#rename(item),
        remove: (items) => this.#done(() => workspace.mayChange && this.actions.remove(items)),
        up: () => this.up(),
        drag: (items) => {
          this.#dragged = items;
        },
        drop: (folder, event) => this.dropped(folder, event),
      },
      where,
    );
    this.bar = h("div", { class: "bar", role: "toolbar", "aria-label": "What to do" });
    this.says = h("p", { class: "says", role: "status" });
    this.element = h("div", { class: "items" }, this.bar, this.says, this.grid.element);
    this.#offer([]);
  }

  /** What was dragged inside the page, last. */
  get dragged() {
    return this.#dragged;
  }

  /** Ended when another view is shown. */
  get signal() {
    return this.#ended.signal;
  }

  /** Load, or load again. */
  refresh() {
    return this.#loading.run();
  }

  close() {
    this.#ended.abort();
  }

  /** Show a folder. */
  go(path) {
    location.hash = address(FILES, this.workspace.id, path);
  }

  /** A folder is gone to, a file is shown. */
  open(item) {
    if (item.kind === "folder") this.go(item.path);
    else if (item.kind === "file") showPreview(this, item);
    else
      this.parts.notes.say(
        item.kind === "symlink" ? `${item.name} is a link to ${item.target}.` : `${item.name} can't be opened here.`,
      );
  }

  up() {}

  async #load() {
    try {
      if (!this.signal.aborted) await this.load();
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
    }
  }

  failed(error) {
    this.says.textContent = error.message;
    this.grid.set([], "");
  }

  async #rename(item) {
    if (!this.workspace.mayChange) return;
    const path = await this.actions.rename(item);
    if (path === null) return;
    await this.refresh();
    this.grid.select([path]);
    this.grid.focus(path);
  }

  async #done(work) {
    await work();
    await this.refresh();
  }

  #offer(items) {
    const hadFocus = this.bar.contains(document.activeElement);
    this.bar.replaceChildren(...(items.length === 0 ? this.general() : this.#selectionButtons(items)));
    if (hadFocus && !this.bar.contains(document.activeElement)) this.bar.querySelector("button")?.focus();
  }

  /** The buttons where nothing is selected. */
  general() {
    return [];
  }

  #selectionButtons(items) {
    const [one] = items;
    const alone = items.length === 1;
    const isFile = alone && one.kind === "file";
    const { mayChange: may, isSealed } = this.workspace;
    const isFetched = !isSealed || items.every(({ kind }) => kind === "file"); // A zip is made by the server.
    return [
      h("span", { class: "selected" }, alone ? "1 selected" : `${count(items.length, "item")} selected`),
      isFetched && button("Download", "download", () => this.actions.download(items)),
      isFile && this.workspace.hasHistory && button("History", "history", () => showHistory(this, one)),
      may &&
        alone &&
        !isSealed &&
        isLinkable(one) &&
        button("Link", "link", () => showLinks(this.workspace, this.parts.notes, one)),
      may && alone && button("Rename", "rename", () => this.#rename(one)),
      may && button("Move", "move", () => this.#done(() => this.actions.move(items))),
      may && button("Copy", "copy", () => this.#done(() => this.actions.copy(items))),
      may && button("Delete", "trash", () => this.#done(() => this.actions.remove(items)), { class: "danger" }),
    ].filter(Boolean);
  }

  /** Something was dropped on a folder: by default, what was dragged from here is moved there. */
  dropped(folder, event) {
    if (!event.dataTransfer.types.includes("application/x-samedrive") || !this.workspace.mayChange) return;
    this.#done(() => this.actions.moveTo(this.#dragged, folder.path));
  }

  /** Whether changes of these nodes change what is shown; null: of any. */
  concerns(touched) {
    return touched === null || this.grid.items.some(({ node }) => touched.has(node));
  }

  /** Somebody changed something. */
  news(touched) {
    if (this.concerns(touched)) this.refresh();
  }

  /** Where an item is, for lists over several folders. */
  static folderOf(workspace) {
    return (item) => {
      const names = workspace.steps(paths.parent(item.path)).map(({ name }) => name);
      return [workspace.name, ...names].join(" / ");
    };
  }
}
