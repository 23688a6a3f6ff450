/** A folder that a link lets anybody add files to, and see none: a place to drop them, and how far they are. */

import { button, h, icon } from "./dom.js";
import { dropped, picked, takesDrops } from "./dropped.js";
import { remaining } from "./sharedlink.js";
import { UploadPanel } from "./uploadpanel.js";
import { Uploads } from "./uploads.js";

export class InboxView {
  #link;
  #notes;
  #panel = new UploadPanel();
  #uploads = new Uploads(() => this.#panel.changed());

  /** `about` is the server's message about what the link leads to. */
  constructor(parts, link, about) {
    this.#link = link;
    this.#notes = parts.notes;
    this.#panel.show(this.#uploads);
    this.title = `Bring files to ${link.name}`;
    const files = h("input", {
      type: "file",
      multiple: true,
      hidden: true,
      "aria-label": "Files to bring",
      onchange: () => {
        this.#add(Promise.resolve(picked(files)));
        files.value = "";
      },
    });
    const place = h(
      "section",
      { class: "inbox", "aria-label": "Where files are dropped" },
      icon("upload"),
      h("p", {}, "Drop files here"),
      button("Choose files", null, () => files.click(), { class: "main" }),
      files,
    );
    takesDrops(place, (event) => this.#add(dropped(event)));
    this.element = h(
      "div",
      { class: "linked" },
      h("p", { class: "says" }, `What is in the folder isn't shown to you. ${remaining(about)}`),
      place,
      this.#panel.element,
    );
  }

  /** Whether anything would be lost if the page were closed now. */
  get isBusy() {
    return this.#uploads.isBusy;
  }

  async refresh() {}

  close() {
    for (const upload of [...this.#uploads.all]) this.#uploads.remove(upload);
  }

  /** Files of folders come without their folders: a link takes files for its folder itself. */
  async #add(found) {
    try {
      const files = (await found).files.map(({ file }) => ({ file, names: [file.name] }));
      await this.#uploads.add(this.#link, "", { files, folders: [] });
    } catch (error) {
      this.#notes.failed("Not everything is uploaded", error);
    }
  }
}
