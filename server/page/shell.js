/** What stands around every view: the bar with search, the workspaces, and the ways to the views. */

import { button, h, icon, pictureButton } from "./dom.js";
import { Latest } from "./latest.js";
import * as places from "./place.js";
import { showSharing } from "./sharing.js";

const WAYS = [
  [places.FILES, "Files", "folder"],
  [places.TRASH, "Trash", "trash"],
  [places.CONFLICTS, "Conflicts", "conflict"],
  [places.SPACE, "Space", "space"],
  [places.DEVICES, "Devices", "device"],
];

export class Shell {
  #workspaces;
  #on;
  #workspace = null;
  #counting = new Latest(() => this.#count());

  /** `on` has logOut() and notes. */
  constructor(workspaces, user, on) {
    this.#workspaces = workspaces;
    this.#on = on;
    this.search = h("input", {
      type: "search",
      id: "search",
      placeholder: "Search by name",
      "aria-label": "Search by name",
      title: "Press / to come here",
    });
    this.chosen = h(
      "select",
      { "aria-label": "Workspace", onchange: () => this.#choose() },
      ...workspaces.map((workspace) => h("option", { value: workspace.id }, this.#called(workspace, user))),
    );
    this.offline = h("p", { class: "offline", role: "status" });
    this.ways = new Map(WAYS.map(([view, label, picture]) => [view, h("a", {}, icon(picture), h("span", {}, label))]));
    this.conflicts = h("span", { class: "badge conflict", hidden: true });
    this.ways.get(places.CONFLICTS).append(this.conflicts);
    this.main = h("main", { id: "main", tabindex: "-1" });
    const search = h(
      "form",
      { role: "search", onsubmit: (event) => this.#searched(event) },
      icon("search"),
      this.search,
    );
    this.element = h(
      "div",
      { class: "shell" },
      h("a", { class: "skip", href: "#main", onclick: (event) => this.#skip(event) }, "Skip to the content"),
      h(
        "header",
        { class: "top" },
        h("div", { class: "brand" }, icon("drive"), h("span", {}, "Samedrive")),
        search,
        h(
          "div",
          { class: "who" },
          h("span", { class: "user" }, user),
          pictureButton(`Log out ${user}`, "leave", on.logOut),
        ),
      ),
      h(
        "nav",
        { class: "side", "aria-label": "Views" },
        h(
          "div",
          { class: "workspace" },
          this.chosen,
          button("Share", "share", () => showSharing(this.#workspace, on.notes)),
        ),
        h("ul", {}, ...[...this.ways.values()].map((way) => h("li", {}, way))),
      ),
      h("div", { class: "content" }, this.offline, this.main),
    );
  }

  /** Show a view. */
  show(view, workspace, { view: name, rest }) {
    const changed = this.#workspace !== workspace;
    this.#workspace = workspace;
    this.chosen.value = workspace.id;
    for (const [way, link] of this.ways) {
      link.href = places.address(way, workspace.id);
      if (way === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.search.disabled = workspace.isSealed;
    this.search.placeholder = workspace.isSealed ? "No search: names are encrypted" : "Search by name";
    this.search.value = name === places.SEARCH ? decodeURIComponent(rest) : "";
    this.main.replaceChildren(view.element);
    if (!this.element.contains(document.activeElement) || document.activeElement === this.search)
      this.main.focus({ preventScroll: true });
    if (changed) this.countConflicts();
  }

  /** Say whether the server answers. */
  reached(isReached) {
    this.offline.textContent = isReached ? "" : "The server does not answer. What is shown may be old; trying again.";
  }

  /** Say how many conflicts there are. */
  countConflicts() {
    return this.#counting.run();
  }

  async #count() {
    const workspace = this.#workspace;
    try {
      const found = await workspace.conflicts();
      if (workspace !== this.#workspace) return;
      this.conflicts.hidden = found.length === 0;
      this.conflicts.textContent = String(found.length);
    } catch {
      // Nobody asked: the view says what is wrong.
    }
  }

  #called(workspace, user) {
    return workspace.owner === user ? workspace.name : `${workspace.owner}/${workspace.name}`;
  }

  #choose() {
    location.hash = places.address(places.FILES, this.chosen.value);
  }

  #searched(event) {
    event.preventDefault();
    const text = this.search.value.trim();
    if (text === "") location.hash = places.address(places.FILES, this.#workspace.id);
    else location.hash = places.address(places.SEARCH, this.#workspace.id, encodeURIComponent(text));
  }

  #skip(event) {
    event.preventDefault();
    this.main.focus();
  }
}
