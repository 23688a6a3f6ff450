/**
 * The page of whoever has a link and no account: what it leads to, after its password where it has one.
 *
 * A link that is over looks like one that never was: nothing here tells which.
 */

import { Api } from "./api.js";
import { Content } from "./content.js";
import { h, icon } from "./dom.js";
import { InboxView } from "./inboxview.js";
import { LinkedFileView } from "./linkedfile.js";
import { LinkedFolderView } from "./linkedfolder.js";
import { Notes } from "./notes.js";
import { isPath } from "./paths.js";
import { LinkPassword, SharedLink } from "./sharedlink.js";

export class LinkPage {
  #page = document.getElementById("page");
  #password = new LinkPassword();
  #notes = new Notes();
  #api = new Api(this.#password, () => {});
  #content = new Content(this.#api, (error) => this.#notes.failed("The download failed", error));
  #link;
  #about = null;
  #view = null;

  constructor(secret) {
    this.#link = new SharedLink(this.#api, secret);
  }

  async run() {
    addEventListener("hashchange", () => this.#view instanceof LinkedFolderView && this.#go());
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => event.preventDefault());
    addEventListener("beforeunload", (event) => this.#view?.isBusy && event.preventDefault());
    await Promise.all([this.#content.start(), this.#begin()]);
  }

  async #begin() {
    try {
      this.#about = await this.#link.about();
    } catch (error) {
      this.#refused(error);
      return;
    }
    this.#go();
  }

  #refused(error) {
    if (error.code === "password") this.#ask("");
    else if (error.status === 404) this.#over();
    else this.#show("The link can't be opened now", h("p", {}, error.message));
  }

  #over() {
    this.#show(
      "This link leads nowhere",
      h("p", {}, "It may be over, or its address may be incomplete. Ask whoever gave it to you for another one."),
    );
  }

  /** Show what the address says. */
  #go() {
    const parts = { content: this.#content, notes: this.#notes };
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    this.#view?.close();
    if (this.#about.link === "upload") this.#view = new InboxView(parts, this.#link, this.#about);
    else if (this.#about.kind === "folder")
      this.#view = new LinkedFolderView(parts, this.#link, this.#about, askedFor());
    else this.#view = new LinkedFileView(parts, this.#link, this.#about);
    this.#show(this.#view.title, this.#view.element);
    this.#view.refresh();
  }

  #show(title, ...content) {
    document.title = `${title} · Samedrive`;
    this.#page.replaceChildren(
      h(
        "div",
        { class: "guest" },
        h("header", { class: "top" }, h("div", { class: "brand" }, icon("drive"), h("span", {}, "Samedrive"))),
        h("main", { id: "main", tabindex: "-1" }, h("h1", {}, title), ...content),
      ),
    );
  }

  #ask(says) {
    const password = h("input", { id: "password", type: "password", autocomplete: "off", required: true });
    const wrong = h("p", { class: "wrong", role: "alert" }, says);
    const submit = h("button", { class: "main" }, "Open");
    const tried = async (event) => {
      event.preventDefault();
      submit.disabled = true;
      this.#password.use(password.value);
      try {
        this.#about = await this.#link.about();
        this.#go();
      } catch (error) {
        this.#password.forget();
        if (error.status === 404) return this.#over();
        wrong.textContent = error.message;
        password.select();
        password.focus();
      } finally {
        submit.disabled = false;
      }
    };
    this.#show(
      "This link has a password",
      h(
        "form",
        { class: "ask", onsubmit: tried },
        h("label", { for: "password" }, "Password"),
        password,
        wrong,
        submit,
      ),
    );
    password.focus();
  }
}

/** The path below what the link leads to that the address says; what is none is what it leads to itself. */
function askedFor() {
  const asked = location.hash.slice(1);
  return isPath(asked) ? asked : "";
}
