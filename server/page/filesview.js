/** A folder: its way, its items, and uploads into it by picker and drop. */

import { crumbs } from "./crumbs.js";
import { button, h } from "./dom.js";
import { bringsFiles, dropped, picked, takesDrops } from "./dropped.js";
import { ItemsView } from "./itemsview.js";
import * as paths from "./paths.js";

export class FilesView extends ItemsView {
  #node = null;
  #from;

  /** `from`: the path of the item that the keyboard is given, or null. */
  constructor(parts, workspace, path, from = null) {
    super(parts, workspace, "Files");
    this.path = path;
    this.#from = from;
    this.title = path === "" ? workspace.name : workspace.shown(paths.last(path));
    const drop = { onDrop: (folder, event) => this.dropped(folder, event) };
    this.files = h("input", {
      type: "file",
      multiple: true,
      hidden: true,
      "aria-label": "Files to upload",
      onchange: () => this.#picked(this.files),
    });
    this.folder = h("input", {
      type: "file",
      webkitdirectory: true,
      hidden: true,
      "aria-label": "Folder to upload",
      onchange: () => this.#picked(this.folder),
    });
    this.element.prepend(crumbs(workspace, path, drop), this.files, this.folder);
    if (this.#takesFiles) takesDrops(this.element, (event) => this.dropped({ path: this.path }, event));
  }

  general() {
    const make = () => button("New folder", "new-folder", () => this.#newFolder());
    if (this.workspace.isSealed)
      return [
        ...(this.workspace.mayChange ? [make()] : []),
        h("span", { class: "says" }, "End-to-end encrypted: files are added on a mount."),
      ];
    const all = button("Download all", "download", () =>
      this.actions.download([{ kind: "folder", path: this.path, name: this.path === "" ? "" : this.title }]),
    );
    if (!this.workspace.mayChange)
      return [h("span", { class: "says" }, "You may read this workspace, not change it."), all];
    return [
      button("Upload files", "upload", () => this.files.click(), { class: "main" }),
      button("Upload a folder", "upload-folder", () => this.folder.click()),
      make(),
      all,
    ];
  }

  async load() {
    const items = [];
    this.element.setAttribute("aria-busy", "true");
    for await (const page of this.workspace.folder(this.path, this.signal)) {
      this.#node = page.item.node;
      items.push(...page.items);
    }
    this.element.removeAttribute("aria-busy");
    this.says.textContent = "";
    this.grid.set(
      items,
      this.#takesFiles ? "Nothing here yet. Drop files and folders, or upload some." : "Nothing here yet.",
    );
    if (this.#from !== null) this.grid.focus(this.#from);
    this.#from = null;
  }

  failed(error) {
    this.element.removeAttribute("aria-busy");
    super.failed(error.status === 404 ? { message: "This folder is not here any more." } : error);
  }

  get #takesFiles() {
    return this.workspace.mayChange && !this.workspace.isSealed;
  }

  up() {
    if (this.path !== "") this.go(paths.parent(this.path));
  }

  concerns(touched) {
    return super.concerns(touched) || this.#node === null || touched.has(this.#node);
  }

  dropped(folder, event) {
    if (bringsFiles(event)) this.#upload(dropped(event), folder.path);
    else super.dropped(folder, event);
  }

  async #newFolder() {
    const path = await this.actions.newFolder(this.path);
    if (path === null) return;
    await this.refresh();
    this.grid.select([path]);
    this.grid.focus(path);
  }

  #picked(input) {
    this.#upload(Promise.resolve(picked(input)), this.path);
    input.value = "";
  }

  async #upload(found, folder) {
    if (!this.#takesFiles) return;
    try {
      await this.parts.uploads.add(this.workspace, folder, await found);
    } catch (error) {
      this.parts.notes.failed("Not everything is uploaded", error);
    }
  }
}
