/** The devices that are logged in as this user, and ending their log-ins. */

import { agrees } from "./dialog.js";
import { button, h, icon, timeElement } from "./dom.js";
import { ListView } from "./listview.js";
import { date, when } from "./text.js";

export class DevicesView extends ListView {
  #api;
  #own;

  /** `own` is the id of this browser's device. */
  constructor(parts, workspace, api, own) {
    super(
      parts,
      workspace,
      "Devices",
      "Every mount and browser that is logged in as you. One that is revoked can't read or change anything any more.",
    );
    this.#api = api;
    this.#own = own;
  }

  async load() {
    const { devices } = await this.#api.ask("GET", "/devices");
    const active = devices
      .filter(({ revoked }) => !revoked)
      .toSorted((one, other) => Number(other.id === this.#own) - Number(one.id === this.#own));
    return { elements: active.map((device) => this.#line(device)), empty: "No device is logged in." };
  }

  /** Changes of files don't concern it. */
  news() {}

  #line(device) {
    const isOwn = device.id === this.#own;
    const since = date(device.created_ns ?? 0);
    const seen = date(device.seen_ns ?? 0);
    return h(
      "li",
      {},
      icon("device"),
      h(
        "div",
        { class: "about" },
        h("p", { class: "label" }, device.name, isOwn && h("span", { class: "badge" }, "this browser")),
        h(
          "p",
          { class: "says" },
          "known since ",
          timeElement(when(since), since.toISOString()),
          seen > since && ", last seen ",
          seen > since && timeElement(when(seen), seen.toISOString()),
        ),
      ),
      !isOwn &&
        button("Revoke", "close", () => this.#revoke(device), {
          class: "danger",
          "aria-label": `Revoke ${device.name}`,
        }),
    );
  }

  async #revoke(device) {
    if (
      !(await agrees(
        `Revoke ${device.name}?`,
        "It has to log in again. What it has not sent yet stays in its journal.",
        "Revoke",
      ))
    )
      return;
    await this.doing(`${device.name} was not revoked`, () => this.#api.ask("DELETE", `/devices/${device.id}`));
  }
}
