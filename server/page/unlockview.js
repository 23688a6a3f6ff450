/** What is shown of an end-to-end workspace before its passphrase is known here. */

import { h } from "./dom.js";

export class UnlockView {
  #workspace;
  #done;
  #input = h("input", { id: "passphrase", type: "password", autocomplete: "off", required: true });
  #says = h("p", { class: "says", role: "status" });
  #wrong = h("p", { class: "wrong", role: "alert" });
  #submit = h("button", { class: "main" }, "Unlock");

  /** `done` is called when it is unlocked. */
  constructor(workspace, done) {
    this.#workspace = workspace;
    this.#done = done;
    this.title = `Unlock ${workspace.name}`;
    this.element = h(
      "div",
      { class: "view" },
      h("h1", {}, `${workspace.name} is end-to-end encrypted`),
      h(
        "p",
        { class: "intro" },
        "The server can't read its files, nor their names. Its passphrase opens them in this page, which sends it to" +
          " nobody and forgets it when it is closed.",
      ),
      !isSecureContext &&
        h("p", {}, "This needs an address with HTTPS: over plain HTTP the browser does no encryption."),
      isSecureContext &&
        h(
          "form",
          { class: "ask", onsubmit: (event) => this.#tried(event) },
          h("label", { for: "passphrase" }, "Passphrase"),
          this.#input,
          this.#wrong,
          this.#says,
          this.#submit,
        ),
    );
  }

  async refresh() {
    this.#input.focus();
  }

  close() {}

  news() {}

  async #tried(event) {
    event.preventDefault();
    this.#submit.disabled = true;
    this.#wrong.textContent = "";
    this.#says.textContent = "Making the key from the passphrase: this takes some seconds.";
    try {
      await this.#workspace.unlock(this.#input.value);
      this.#input.value = "";
      this.#done();
    } catch (error) {
      this.#wrong.textContent = error.message;
      this.#input.select();
      this.#input.focus();
    } finally {
      this.#says.textContent = "";
      this.#submit.disabled = false;
    }
  }
}
