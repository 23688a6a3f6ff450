/** Conflict copies side by side with what they conflict with, and a choice between them. */

import { difference } from "./difference.js";
import { button, h, timeElement } from "./dom.js";
import { kindOf, textOf } from "./kinds.js";
import { ListView } from "./listview.js";
import * as paths from "./paths.js";
import { preview } from "./preview.js";
import { date, exactly, size } from "./text.js";

const TEXT_MOST = 64 * 1024;

export class ConflictsView extends ListView {
  #release = [];

  constructor(parts, workspace) {
    super(
      parts,
      workspace,
      "Conflicts",
      "Two devices changed one file before they heard of each other. Both contents are kept; choose which stays.",
    );
  }

  async load() {
    const copies = await this.workspace.conflicts();
    const made = await Promise.all(copies.map((copy) => this.#compared(copy)));
    this.#free();
    this.#release = made.flatMap(({ release }) => release);
    return { elements: made.map(({ element }) => element), empty: "There are no conflicts." };
  }

  close() {
    super.close();
    this.#free();
  }

  #free() {
    for (const release of this.#release) release();
    this.#release = [];
  }

  async #compared(copy) {
    const path = copy.path.map(paths.encodedBytes).join("/");
    const theirs = copy.original ? await this.#item(copy.original.path.map(paths.encodedBytes).join("/")) : null;
    const mine = {
      path,
      name: this.workspace.shown(paths.last(path)),
      kind: copy.kind,
      size: copy.size,
      mtime_ns: copy.committed_ns || copy.mtime_ns,
    };
    const title = theirs?.name ?? mine.name;
    const [left, right] = await this.#bodies(theirs, mine);
    const choose = (keep) => () =>
      this.doing(`The conflict over ${title} goes on`, () => this.#resolve(copy, keep, title));
    const canReplace = copy.kind === "file" && (theirs === null || theirs.kind === "file");
    const may = this.workspace.mayChange;
    const element = h(
      "li",
      { class: "conflict" },
      h("h2", {}, title),
      h(
        "div",
        { class: "sides" },
        this.#side(
          "Under the name now",
          theirs,
          left.element,
          may &&
            theirs &&
            button("Keep this one", null, choose("theirs"), { "aria-label": `Keep this one, under the name ${title}` }),
        ),
        this.#side(
          copy.device ? `From ${copy.device}` : "The conflict copy",
          mine,
          right.element,
          may &&
            canReplace &&
            button("Keep this one", null, choose("mine"), {
              "aria-label": `Keep this one, the conflict copy of ${title}`,
            }),
        ),
      ),
      may &&
        h(
          "footer",
          {},
          button("Keep both as files of their own", null, choose("both"), {
            "aria-label": `Keep both as files of their own: ${title}`,
          }),
        ),
    );
    return { element, release: [left.release, right.release] };
  }

  #side(heading, item, body, action) {
    const moment = item && date(item.mtime_ns);
    return h(
      "section",
      {},
      h("h3", {}, heading),
      item && h("p", { class: "says" }, item.name),
      item &&
        h(
          "p",
          { class: "says" },
          item.kind === "file" ? `${size(item.size)}, ` : "",
          timeElement(exactly(moment), moment.toISOString()),
        ),
      h("div", { class: "shown" }, body),
      action,
    );
  }

  async #bodies(theirs, mine) {
    const texts = await Promise.all([theirs, mine].map((item) => this.#text(item)));
    const marked = texts.every((text) => text !== null) ? difference(...texts) : null;
    if (marked !== null)
      return [marked.left, marked.right].map((lines, at) => ({
        element: textWith(lines, [theirs, mine][at].name),
        release() {},
      }));
    return Promise.all([theirs, mine].map((item) => this.#body(item)));
  }

  async #body(item) {
    if (item === null) return { element: h("p", { class: "says" }, "It is gone."), release() {} };
    if (item.kind !== "file") return { element: h("p", { class: "says" }, `This is a ${item.kind}.`), release() {} };
    return preview(this.parts.content, this.workspace.contentUrl(item.path), item.name, TEXT_MOST);
  }

  async #text(item) {
    if (item?.kind !== "file" || item.size > TEXT_MOST || !["text", "unknown"].includes(kindOf(item.name).how))
      return null;
    try {
      return textOf(await this.parts.content.bytes(this.workspace.contentUrl(item.path), TEXT_MOST));
    } catch {
      return null;
    }
  }

  async #item(path) {
    try {
      return await this.workspace.item(path);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  async #resolve(copy, keep, title) {
    await this.workspace.resolve(copy, keep);
    const said = {
      mine: `Kept the conflict copy of ${title}`,
      theirs: `Kept ${title}; the conflict copy is in the trash`,
      both: `Kept both of ${title}`,
    };
    this.parts.notes.say(said[keep]);
  }
}

function textWith(lines, name) {
  const marked = lines.map(({ text, own }, at) => {
    const line = at === lines.length - 1 ? text : `${text}\n`;
    return own && line !== "" ? h("mark", {}, line) : line;
  });
  return h("pre", { tabindex: "0", role: "region", "aria-label": name }, ...marked);
}
