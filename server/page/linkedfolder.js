/** A folder that a link leads to, or one below it. */

import { crumbs } from "./crumbs.js";
import { button, h } from "./dom.js";
import { ItemsView } from "./itemsview.js";
import * as paths from "./paths.js";
import { remaining } from "./sharedlink.js";

export class LinkedFolderView extends ItemsView {
  /** `about` is the server's message about what the link leads to; `path` begins there. */
  constructor(parts, link, about, path) {
    super(parts, link, "Files");
    this.path = path;
    this.title = link.name;
    this.element.prepend(
      h("p", { class: "says" }, remaining(about)),
      path === "" ? "" : crumbs(link, path, { onOpen: (folder) => this.go(folder) }),
    );
  }

  general() {
    return [
      button("Download all", "download", () => this.actions.download([{ kind: "folder", path: this.path, name: "" }]), {
        class: "main",
      }),
    ];
  }

  async load() {
    const items = [];
    for await (const page of this.workspace.folder(this.path, this.signal)) items.push(...page.items);
    this.says.textContent = "";
    this.grid.set(items, "Nothing is in here.");
  }

  failed(error) {
    super.failed(error.status === 404 ? { message: "This is not here any more, or the link is over." } : error);
  }

  go(path) {
    location.hash = path;
  }

  up() {
    if (this.path !== "") this.go(paths.parent(this.path));
  }
}
