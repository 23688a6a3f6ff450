/** A file that a link leads to: what it is, its download, and a look at it. */

import { button, h, icon, timeElement } from "./dom.js";
import { symbolOf, wordsFor } from "./kinds.js";
import { preview } from "./preview.js";
import { remaining } from "./sharedlink.js";
import { date, size, when } from "./text.js";

export class LinkedFileView {
  #parts;
  #link;
  #about;
  #place = h("div", { class: "shown" });
  #release = () => {};

  /** `about` is the server's message about what the link leads to. */
  constructor(parts, link, about) {
    this.#parts = parts;
    this.#link = link;
    this.#about = about;
    this.title = about.name;
    const changed = date(about.mtime_ns);
    const look = button("Look at it here", null, () => this.#look(look));
    look.hidden = about.transfers_left === null;
    this.element = h(
      "div",
      { class: "linked" },
      h(
        "div",
        { class: "bar" },
        button("Download", "download", () => this.#download(), { class: "main" }),
        look,
        icon(symbolOf(about)),
        h(
          "p",
          { class: "says" },
          `${wordsFor(about)}, ${size(about.size)}, changed `,
          timeElement(when(changed), changed.toISOString()),
        ),
      ),
      h("p", { class: "says" }, remaining(about)),
      this.#place,
    );
  }

  /** Show the content, unless a look counts. */
  async refresh() {
    if (this.#about.transfers_left === null) await this.#look();
  }

  close() {
    this.#release();
  }

  async #look(asked) {
    if (asked) asked.hidden = true;
    const made = await preview(this.#parts.content, this.#link.contentUrl(""), this.#about.name);
    this.#release = made.release;
    this.#place.replaceChildren(made.element);
  }

  async #download() {
    try {
      await this.#parts.content.download(this.#link.downloadUrl(""), this.#about.name);
    } catch (error) {
      this.#parts.notes.failed("The download failed", error);
    }
  }
}
