/** Items whose names contain a text. */

import { button } from "./dom.js";
import { ItemsView } from "./itemsview.js";
import { count } from "./text.js";

const MOST = 1000;

export class SearchView extends ItemsView {
  #text;

  constructor(parts, workspace, rest) {
    super(parts, workspace, "Found", ItemsView.folderOf(workspace));
    this.#text = decodeURIComponent(rest);
    this.title = `Search: ${this.#text}`;
  }

  general() {
    return [button("Back to the files", "previous", () => history.back())];
  }

  async load() {
    const found = [];
    let after = null;
    do {
      const page = await this.workspace.search(this.#text, after, this.signal);
      found.push(...page.items);
      after = page.next;
    } while (after !== null && found.length < MOST);
    this.says.textContent = `${after === null ? "" : "More than "}${count(found.length, "item")} with "${this.#text}" in the name.`;
    this.grid.set(found, "No file or folder has a name with this in it.");
  }

  /** A name may match now that did not. */
  concerns() {
    return true;
  }
}
