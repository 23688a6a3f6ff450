/**
 * Short messages at the page's foot, which screen readers read out; and undo, which is offered in them.
 *
 * Invariant: Ctrl+Z undoes the last thing that can be undone, whether its message is still there or not.
 */

import { h, pictureButton } from "./dom.js";

const SHOWN_MS = 8000;
const KEPT = 20;

export class Notes {
  #place = document.getElementById("notes");
  #undoable = [];

  /** Say something. */
  say(text) {
    this.#show(h("p", { class: "note" }, h("span", {}, text)));
  }

  /** Say that something failed. It stays until it is closed. */
  failed(what, error) {
    if (error.name === "AbortError") return;
    const note = h("p", { class: "note failed" }, h("span", {}, `${what}: ${error.message}`));
    note.append(pictureButton("Close this message", "close", () => note.remove()));
    this.#place.append(note);
  }

  /** Say what was done, and offer to undo it. */
  done(text, undo) {
    const entry = { text, undo };
    this.#undoable.push(entry);
    this.#undoable.splice(0, this.#undoable.length - KEPT);
    const note = h("p", { class: "note" }, h("span", {}, text));
    note.append(h("button", { type: "button", onclick: () => this.#undo(entry, note) }, "Undo"));
    this.#show(note);
  }

  /** Undo the last thing. */
  undoLast() {
    const entry = this.#undoable.at(-1);
    if (entry === undefined) this.say("There is nothing to undo.");
    else this.#undo(entry, null);
  }

  async #undo(entry, note) {
    const at = this.#undoable.indexOf(entry);
    if (at < 0) return;
    this.#undoable.splice(at, 1);
    note?.remove();
    try {
      await entry.undo();
      this.say(`Undone: ${entry.text}`);
    } catch (error) {
      this.failed("This could not be undone", error);
    }
  }

  #show(note) {
    this.#place.append(note);
    while (this.#place.children.length > 4) this.#place.firstChild.remove();
    const end = setInterval(() => {
      if (note.matches(":hover, :focus-within")) return;
      clearInterval(end);
      note.remove();
    }, SHOWN_MS);
  }
}
