/**
 * The list of a folder's items: a table that works as a grid by keyboard, with sorting and selection.
 *
 * Owns what is shown, what is selected and which row has the keyboard. What opening, renaming and removing mean is told
 * by its callbacks. A row is made when it comes near; and kept as long as its item stays the same, so that an update by
 * somebody else moves no focus.
 *
 * Invariants: the selection and the current row name items that are shown; one row at most is in the tab order.
 */

import { h, icon, timeElement } from "./dom.js";
import { symbolOf, wordsFor } from "./kinds.js";
import { sorted } from "./order.js";
import { date, size, when } from "./text.js";

const STEP = 200;
const COLUMNS = [
  { column: "name", label: "Name" },
  { column: "size", label: "Size" },
  { column: "time", label: "Changed" },
];
const TYPING_MS = 800;

export class Grid {
  #items = [];
  #rows = new Map();
  #selected = new Set();
  #current = null;
  #anchor = null;
  #order = { column: "name", descending: false };
  #shown = STEP;
  #typed = "";
  #typedAt = 0;
  #on;

  /**
   * `on` has open(item), select(items), rename(item), remove(items), up(), drag(items) and drop(item, event);
   * `where(item)` is a line below the name, or "".
   */
  constructor(label, on, where = () => "") {
    this.#on = on;
    this.where = where;
    this.body = h("tbody");
    this.heads = COLUMNS.map(({ column, label: text }) =>
      h(
        "th",
        { scope: "col", class: column },
        h("button", { type: "button", onclick: () => this.#sortBy(column) }, text),
      ),
    );
    const all = h("input", {
      type: "checkbox",
      "aria-label": "Select all",
      tabindex: "-1",
      onchange: () => this.#selectAll(all.checked),
    });
    this.all = all;
    this.end = h("div", { class: "end" });
    this.empty = h("p", { class: "empty" });
    const table = h(
      "table",
      { role: "grid", "aria-label": label, "aria-multiselectable": "true", onkeydown: (event) => this.#key(event) },
      h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "check" }, all), ...this.heads)),
      this.body,
    );
    this.table = table;
    this.element = h("div", { class: "grid" }, table, this.empty, this.end);
    new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.#more(), { rootMargin: "600px" }).observe(
      this.end,
    );
    this.#showOrder();
  }

  /** The items that are selected, in the order that is shown. */
  get selected() {
    return this.#items.filter((item) => this.#selected.has(item.path));
  }

  /** All items, in the order that is shown. */
  get items() {
    return this.#items;
  }

  /** Show these; `empty` is said where there are none. */
  set(items, empty) {
    const hadFocus = this.body.contains(document.activeElement);
    const at = this.#items.findIndex((item) => item.path === this.#current);
    this.#items = sorted(items, this.#order);
    const paths = new Set(items.map((item) => item.path));
    this.#selected = new Set([...this.#selected].filter((path) => paths.has(path)));
    if (!paths.has(this.#current))
      this.#current = this.#items[Math.min(Math.max(at, 0), this.#items.length - 1)]?.path ?? null;
    this.empty.textContent = items.length === 0 ? empty : "";
    this.table.hidden = items.length === 0;
    this.#draw();
    if (hadFocus) this.focus();
    this.#on.select(this.selected);
  }

  /** Give the keyboard to the current row, or to the item of this path. */
  focus(path = this.#current) {
    const at = this.#items.findIndex((item) => item.path === path);
    if (at < 0) return;
    this.#current = path;
    if (at >= this.#shown) this.#shown = at + STEP;
    this.#draw();
    const row = this.#rows.get(path).row;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  /** Select these paths and no others. */
  select(paths) {
    this.#selected = new Set(paths);
    this.#changed();
  }

  #more() {
    if (this.#shown >= this.#items.length) return;
    this.#shown += STEP;
    this.#draw();
  }

  #draw() {
    const wanted = this.#items.slice(0, this.#shown);
    const rows = new Map();
    for (const item of wanted) {
      const known = this.#rows.get(item.path);
      const text = JSON.stringify(item);
      rows.set(item.path, known?.text === text ? known : { text, row: this.#row(item) });
    }
    this.#rows = rows;
    const elements = [...rows.values()].map(({ row }) => row);
    const same =
      elements.length === this.body.children.length && elements.every((row, at) => row === this.body.children[at]);
    if (!same) this.body.replaceChildren(...elements);
    this.table.setAttribute("aria-rowcount", String(this.#items.length + 1));
    elements.forEach((row, at) => row.setAttribute("aria-rowindex", String(at + 2)));
    this.#mark();
  }

  #mark() {
    for (const [path, { row }] of this.#rows) {
      const selected = this.#selected.has(path);
      row.setAttribute("aria-selected", String(selected));
      row.querySelector("input").checked = selected;
      row.tabIndex = path === this.#current ? 0 : -1;
    }
    this.all.checked = this.#items.length > 0 && this.#selected.size === this.#items.length;
    this.all.indeterminate = this.#selected.size > 0 && !this.all.checked;
  }

  #row(item) {
    const changed = date(item.mtime_ns ?? 0);
    const where = this.where(item);
    const name = h(
      "button",
      { type: "button", class: "name", tabindex: "-1", onclick: (event) => this.#opened(event, item) },
      icon(symbolOf(item)),
      h("span", {}, h("span", { class: "label" }, item.name), where && h("small", {}, where)),
    );
    const check = h("input", {
      type: "checkbox",
      tabindex: "-1",
      "aria-label": `Select ${item.name}`,
      onchange: () => this.#toggle(item.path),
      onclick: (event) => event.stopPropagation(),
    });
    const badge = item.conflict_of
      ? h("span", { class: "badge conflict" }, "conflict")
      : item.state === "pending"
        ? h("span", { class: "badge" }, "being uploaded")
        : null;
    const row = h(
      "tr",
      {
        onclick: (event) => this.#clicked(event, item),
        ondblclick: () => this.#on.open(item),
        onfocus: () => this.#focused(item),
        draggable: "true",
        ondragstart: (event) => this.#dragged(event, item),
      },
      h("td", { class: "check" }, check),
      h("th", { scope: "row", class: "name" }, name, badge),
      h(
        "td",
        { class: "size" },
        item.kind === "file" ? size(item.size ?? 0) : h("span", { class: "sr" }, wordsFor(item)),
      ),
      h("td", { class: "time" }, timeElement(when(changed), changed.toISOString())),
    );
    if (item.kind === "folder") this.#takesDrops(row, item);
    return row;
  }

  #takesDrops(row, item) {
    row.addEventListener("dragover", (event) => {
      event.preventDefault();
      event.stopPropagation();
      row.classList.add("target");
    });
    row.addEventListener("dragleave", () => row.classList.remove("target"));
    row.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      row.classList.remove("target");
      this.#on.drop(item, event);
    });
  }

  #dragged(event, item) {
    if (!this.#selected.has(item.path)) this.select([item.path]);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("application/x-samedrive", "");
    this.#on.drag(this.selected);
  }

  #focused(item) {
    if (this.#current === item.path) return;
    this.#current = item.path;
    this.#mark();
  }

  #opened(event, item) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.stopPropagation();
    this.#on.open(item);
  }

  #clicked(event, item) {
    if (event.shiftKey) this.#selectTo(item.path);
    else if (event.ctrlKey || event.metaKey || event.target.closest(".check")) this.#toggle(item.path);
    else this.select([item.path]);
    this.#anchor = event.shiftKey ? this.#anchor : item.path;
    this.focus(item.path);
  }

  #toggle(path) {
    if (!this.#selected.delete(path)) this.#selected.add(path);
    this.#anchor = path;
    this.#changed();
  }

  #selectAll(all) {
    this.select(all ? this.#items.map((item) => item.path) : []);
  }

  #selectTo(path) {
    const at = this.#items.findIndex((item) => item.path === path);
    const from = Math.max(
      0,
      this.#items.findIndex((item) => item.path === (this.#anchor ?? this.#current)),
    );
    this.select(this.#items.slice(Math.min(at, from), Math.max(at, from) + 1).map((item) => item.path));
  }

  #changed() {
    this.#mark();
    this.#on.select(this.selected);
  }

  #sortBy(column) {
    const descending = this.#order.column === column ? !this.#order.descending : column !== "name";
    this.#order = { column, descending };
    this.#showOrder();
    this.#items = sorted(this.#items, this.#order);
    this.#draw();
  }

  #showOrder() {
    COLUMNS.forEach(({ column }, at) => {
      const { column: chosen, descending } = this.#order;
      if (column === chosen) this.heads[at].setAttribute("aria-sort", descending ? "descending" : "ascending");
      else this.heads[at].removeAttribute("aria-sort");
    });
  }

  #key(event) {
    if (!event.target.closest("tbody tr")) return;
    const item = this.#items.find(({ path }) => path === this.#current);
    const done = this.#keyed(event, item);
    if (done) event.preventDefault();
  }

  #keyed(event, item) {
    const at = this.#items.indexOf(item);
    const go = (to) => {
      const target = this.#items[Math.min(Math.max(to, 0), this.#items.length - 1)];
      if (event.shiftKey) {
        this.#anchor ??= item.path;
        this.#selectTo(target.path);
      } else if (!event.ctrlKey) {
        this.#anchor = target.path;
        this.select([target.path]);
      }
      this.focus(target.path);
      return true;
    };
    const chosen = () => (this.#selected.size > 0 ? this.selected : [item]);
    switch (event.key) {
      case "ArrowDown":
        return go(at + 1);
      case "ArrowUp":
        return event.altKey ? this.#did(() => this.#on.up()) : go(at - 1);
      case "PageDown":
        return go(at + 15);
      case "PageUp":
        return go(at - 15);
      case "Home":
        return go(0);
      case "End":
        return go(this.#items.length - 1);
      case "Enter":
        return this.#did(() => this.#on.open(item));
      case "Backspace":
        return this.#did(() => this.#on.up());
      case "F2":
        return this.#did(() => this.#on.rename(item));
      case "Delete":
        return this.#did(() => this.#on.remove(chosen()));
      case " ":
        return this.#did(() => this.#toggle(item.path));
      case "Escape":
        return this.#did(() => this.select([]));
      case "a":
        if (event.ctrlKey || event.metaKey) return this.#did(() => this.#selectAll(true));
    }
    return this.#typedAhead(event, at);
  }

  #did(work) {
    work();
    return true;
  }

  #typedAhead(event, at) {
    if (event.key.length !== 1 || event.key === "/" || event.ctrlKey || event.metaKey || event.altKey) return false;
    this.#typed =
      event.timeStamp - this.#typedAt < TYPING_MS ? this.#typed + event.key.toLowerCase() : event.key.toLowerCase();
    this.#typedAt = event.timeStamp;
    const from = this.#typed.length > 1 ? at : at + 1;
    const turned = [...this.#items.slice(from), ...this.#items.slice(0, from)];
    const found = turned.find(({ name }) => name.toLowerCase().startsWith(this.#typed));
    if (found !== undefined) {
      this.select([found.path]);
      this.focus(found.path);
    }
    return true;
  }
}
