/**
 * A view that is a list which is loaded as a whole: its heading, and what it says while it loads, is empty or fails.
 */

import { h } from "./dom.js";
import { Latest } from "./latest.js";

export class ListView {
  #loading = new Latest(() => this.#load());
  #isClosed = false;

  /** `intro` is a sentence below the heading. */
  constructor(parts, workspace, title, intro) {
    this.parts = parts;
    this.workspace = workspace;
    this.title = title;
    this.says = h("p", { class: "says", role: "status" });
    this.list = h("ul", { class: "plain cards" });
    this.element = h(
      "div",
      { class: "view" },
      h("h1", {}, title),
      h("p", { class: "intro" }, intro),
      this.list,
      this.says,
    );
  }

  /** Load, or load again. */
  refresh() {
    return this.#loading.run();
  }

  /** Do what a button says, and load again. */
  async doing(what, work) {
    try {
      await work();
    } catch (error) {
      this.parts.notes.failed(what, error);
    }
    await this.refresh();
  }

  news() {
    this.refresh();
  }

  close() {
    this.#isClosed = true;
  }

  async #load() {
    if (this.#isClosed) return;
    try {
      const { elements, empty } = await this.load();
      this.#replace(elements);
      this.says.textContent = elements.length === 0 ? empty : "";
    } catch (error) {
      this.says.textContent = error.message;
    }
  }

  #replace(elements) {
    const at = [...this.list.children].findIndex((element) => element.contains(document.activeElement));
    this.list.replaceChildren(...elements);
    if (at >= 0)
      (
        this.list.children[Math.min(at, elements.length - 1)]?.querySelector("button") ??
        document.getElementById("main")
      ).focus();
  }
}
