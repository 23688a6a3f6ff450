/** The uploads as they are shown: a panel with a line for each, and the whole's progress. */

import { button, h, pictureButton } from "./dom.js";
import { count, percent, size } from "./text.js";

const LINES = 100;
const ORDER = ["clash", "failed", "sending", "paused", "waiting", "done"];

export class UploadPanel {
  #uploads = null;
  #lines = new Map();
  #due = false;

  constructor() {
    this.heading = h("h2", {});
    this.progress = h("progress", { max: "1", "aria-label": "All uploads" });
    this.list = h("ul");
    this.more = h("p", { class: "more" });
    this.spoken = h("p", { class: "sr", role: "status" });
    const clear = pictureButton("Clear what is done", "done", () => this.#uploads.clear());
    this.clear = clear;
    this.element = h(
      "section",
      { class: "uploads", "aria-label": "Uploads", hidden: true },
      h("header", {}, this.heading, clear),
      this.progress,
      this.list,
      this.more,
      this.spoken,
    );
  }

  /** Show these from now on. */
  show(uploads) {
    this.#uploads = uploads;
  }

  /** Something changed: drawn once a frame, however many changes there are. */
  changed() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#draw();
    });
  }

  #draw() {
    const all = this.#uploads.all;
    this.element.hidden = all.length === 0;
    const done = all.filter(({ state }) => state === "done").length;
    const waiting = all.filter(({ state }) => state === "clash" || state === "failed").length;
    const total = all.reduce((sum, { file }) => sum + file.size, 0);
    const sent = all.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
    const heading =
      done === all.length ? `${count(done, "file")} uploaded` : `Uploading ${done} of ${count(all.length, "file")}`;
    this.#write(this.heading, heading);
    this.progress.value = total === 0 ? 1 : sent / total;
    this.clear.hidden = done === 0;
    this.#write(
      this.spoken,
      done === all.length ? heading : waiting > 0 ? `${count(waiting, "upload")} need your answer` : "",
    );
    const first = all.toSorted((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state)).slice(0, LINES);
    const lines = new Map(first.map((upload) => [upload, this.#lines.get(upload) ?? new Line(upload, this.#uploads)]));
    this.#lines = lines;
    const elements = [...lines.values()].map((line) => line.update());
    if (
      elements.some((element, at) => element !== this.list.children[at]) ||
      this.list.children.length !== elements.length
    ) {
      this.list.replaceChildren(...elements);
    }
    this.#write(this.more, all.length > LINES ? `and ${count(all.length - LINES, "more", "more")}` : "");
  }

  #write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }
}

class Line {
  #state = "";

  constructor(upload, uploads) {
    this.upload = upload;
    this.uploads = uploads;
    this.progress = h("progress", { max: "1", "aria-label": upload.name });
    this.says = h("p", { class: "says" });
    this.actions = h("div", { class: "actions" });
    this.element = h(
      "li",
      {},
      h(
        "div",
        { class: "about" },
        h("p", { class: "label", title: upload.name }, upload.name),
        this.progress,
        this.says,
      ),
      this.actions,
    );
  }

  update() {
    const { state, sentBytes, file, problem } = this.upload;
    this.progress.value = file.size === 0 ? Number(state === "done") : sentBytes / file.size;
    this.progress.hidden = state === "done" || state === "clash";
    this.element.className = state;
    const says = {
      waiting: "Waiting",
      sending:
        sentBytes >= file.size
          ? "Being stored"
          : `${size(sentBytes)} of ${size(file.size)} (${percent(sentBytes, file.size)})`,
      paused: `Paused at ${percent(sentBytes, file.size)}`,
      done: size(file.size),
      failed: problem,
      clash: "There is a file of this name.",
    };
    if (this.says.textContent !== says[state]) this.says.textContent = says[state];
    if (state !== this.#state) this.#offer(state);
    this.#state = state;
    return this.element;
  }

  #offer(state) {
    const { upload, uploads } = this;
    const name = upload.name;
    const remove = () => pictureButton(`Remove ${name}`, "close", () => uploads.remove(upload));
    const pause = () =>
      upload.workspace.keepsWhatArrives ? [pictureButton(`Pause ${name}`, "pause", () => uploads.pause(upload))] : [];
    const offers = {
      waiting: () => [...pause(), remove()],
      sending: () => [...pause(), remove()],
      paused: () => [pictureButton(`Go on with ${name}`, "resume", () => uploads.resume(upload)), remove()],
      failed: () => [pictureButton(`Try ${name} again`, "retry", () => uploads.resume(upload)), remove()],
      clash: () => [
        button("Replace", null, () => uploads.replace(upload), { "aria-label": `Replace ${name}` }),
        button("Keep both", null, () => uploads.keepBoth(upload), { "aria-label": `Keep both of ${name}` }),
        remove(),
      ],
      done: () => [],
    };
    const hadFocus = this.actions.contains(document.activeElement);
    this.actions.replaceChildren(...offers[state]());
    if (hadFocus) (this.actions.querySelector("button") ?? document.getElementById("main")).focus();
  }
}
