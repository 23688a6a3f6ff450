/** What was removed, and bringing it back. */

import { button, h, icon, timeElement } from "./dom.js";
import { symbolOf } from "./kinds.js";
import { ListView } from "./listview.js";
import * as paths from "./paths.js";
import { address, FILES } from "./place.js";
import { date, size, when } from "./text.js";

const MOST = 1000;

export class TrashView extends ListView {
  constructor(parts, workspace) {
    super(parts, workspace, "Trash", "What was deleted, newest first. What is put back returns to where it was.");
  }

  async load() {
    const found = [];
    let after = null;
    do {
      const page = await this.workspace.trash(after);
      found.push(...page.items);
      after = page.next;
    } while (after !== null && found.length < MOST);
    return { elements: found.map((item) => this.#line(item)), empty: "The trash is empty." };
  }

  #line(item) {
    const moment = date(item.removed_ns);
    const folder = [this.workspace.name, ...this.workspace.steps(paths.parent(item.path)).map(({ name }) => name)].join(
      " / ",
    );
    const by = [item.user, item.device].filter(Boolean).join(", ");
    const back = () => this.doing(`${item.name} was not put back`, () => this.#bringBack(item));
    return h(
      "li",
      {},
      icon(symbolOf(item)),
      h(
        "div",
        { class: "about" },
        h("p", { class: "label" }, item.name),
        h(
          "p",
          { class: "says" },
          `${folder}${item.kind === "file" ? `, ${size(item.size)}` : ""}, deleted `,
          timeElement(when(moment), moment.toISOString()),
          by && ` by ${by}`,
        ),
      ),
      this.workspace.mayChange && button("Put back", "history", back, { "aria-label": `Put back ${item.name}` }),
    );
  }

  async #bringBack(item) {
    const back = await this.workspace.bringBack(item.node);
    const where = back?.path ?? item.path;
    this.parts.notes.done(`Put ${item.name} back`, () => this.workspace.remove({ ...item, path: where }));
    if (where !== item.path) location.hash = address(FILES, this.workspace.id, paths.parent(where));
  }
}
