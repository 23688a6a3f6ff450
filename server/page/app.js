/**
 * The page's parts put together for who has an account: who is logged in, which workspace and view are shown, and what
 * goes on beside them.
 */

import { Api } from "./api.js";
import { ConflictsView } from "./conflicts.js";
import { Content } from "./content.js";
import { DevicesView } from "./devices.js";
import { FilesView } from "./filesview.js";
import { Following } from "./following.js";
import { Login } from "./login.js";
import { loginForm } from "./loginform.js";
import { Notes } from "./notes.js";
import * as places from "./place.js";
import { SealedWorkspace } from "./sealedworkspace.js";
import { SearchView } from "./searchview.js";
import { Shell } from "./shell.js";
import { SpaceView } from "./space.js";
import { TrashView } from "./trash.js";
import { UnlockView } from "./unlockview.js";
import { UploadPanel } from "./uploadpanel.js";
import { Uploads } from "./uploads.js";
import { Workspace } from "./workspace.js";

const HAVE_NAMES = new Set([places.FILES, places.TRASH, places.CONFLICTS]);

export class App {
  #page = document.getElementById("page");
  #login = new Login();
  #notes = new Notes();
  #api = new Api(this.#login, () =>
    this.#loggedOut("You are logged out: this browser was revoked, or its log-in ended."),
  );
  #content = new Content(this.#api, (error) => this.#notes.failed("The download failed", error));
  #panel = new UploadPanel();
  #uploads = new Uploads(() => this.#panel.changed());
  #workspaces = [];
  #shell = null;
  #workspace = null;
  #following = null;
  #view = null;
  #path = null;

  async run() {
    this.#panel.show(this.#uploads);
    addEventListener("hashchange", () => this.#go());
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("beforeunload", (event) => this.#uploads.isBusy && event.preventDefault());
    // A drop that misses its place would open the file instead of the page.
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => event.preventDefault());
    await this.#content.start();
    if (this.#login.token === null) this.#askWho();
    else await this.#begin();
  }

  #askWho(says = "") {
    document.title = "Log in · Samedrive";
    this.#page.replaceChildren(loginForm(this.#api, this.#login, says, () => this.#begin()));
    this.#page.querySelector("input").focus();
  }

  async #begin() {
    let rows;
    try {
      ({ workspaces: rows } = await this.#api.ask("GET", "/workspaces"));
    } catch (error) {
      if (error.status !== 401) this.#askWho(error.message);
      return;
    }
    this.#workspaces = rows.map((row) => new (row.end_to_end ? SealedWorkspace : Workspace)(this.#api, row));
    for (const workspace of this.#workspaces) if (workspace.isSealed) this.#content.takeOver(workspace);
    this.#shell = new Shell(this.#workspaces, this.#login.user, {
      logOut: () => this.#logOut(),
      notes: this.#notes,
    });
    this.#page.replaceChildren(this.#shell.element, this.#panel.element);
    this.#go();
  }

  async #logOut() {
    try {
      await this.#api.ask("POST", "/logout");
    } catch (error) {
      if (error.status !== 401) return this.#notes.failed("You are still logged in", error);
    }
    this.#loggedOut("");
  }

  #loggedOut(says) {
    this.#login.forget();
    for (const workspace of this.#workspaces) if (workspace.isSealed) workspace.lock();
    this.#follow(null);
    this.#view?.close();
    this.#view = null;
    this.#shell = null;
    this.#path = null;
    for (const upload of [...this.#uploads.all]) this.#uploads.remove(upload);
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    this.#askWho(says);
  }

  /** Show what the address says. */
  #go() {
    if (this.#shell === null) return;
    const place = places.read(location.hash);
    const workspace =
      this.#workspaces.find(({ id }) => id === place?.workspace) ??
      this.#workspaces.find(({ isDefault }) => isDefault) ??
      this.#workspaces[0];
    const isNowhere = workspace.isSealed && place?.view === places.SEARCH;
    if (place === null || place.workspace !== workspace.id || isNowhere) {
      history.replaceState(null, "", places.address(places.FILES, workspace.id));
      return this.#go();
    }
    if (workspace !== this.#workspace) this.#follow(workspace);
    if (workspace.isSealed && !workspace.isLocked && place.view === places.FILES && !workspace.knows(place.rest)) {
      workspace.learn([place.rest]).then(() => this.#go());
      return;
    }
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    this.#view?.close();
    this.#view = this.#viewOf(place);
    document.title = `${this.#view.title} · Samedrive`;
    this.#shell.show(this.#view, workspace, place);
    this.#view.refresh().then(() => this.#view?.grid?.focus());
  }

  #viewOf({ view, rest }) {
    const parts = { content: this.#content, notes: this.#notes, uploads: this.#uploads };
    const cameFrom = this.#path;
    this.#path = view === places.FILES ? rest : null;
    if (this.#workspace.isSealed && this.#workspace.isLocked && HAVE_NAMES.has(view))
      return new UnlockView(this.#workspace, () => this.#go());
    switch (view) {
      case places.SEARCH:
        return new SearchView(parts, this.#workspace, rest);
      case places.TRASH:
        return new TrashView(parts, this.#workspace);
      case places.CONFLICTS:
        return new ConflictsView(parts, this.#workspace);
      case places.SPACE:
        return new SpaceView(parts, this.#workspace);
      case places.DEVICES:
        return new DevicesView(parts, this.#workspace, this.#api, this.#login.device);
      default:
        return new FilesView(parts, this.#workspace, rest, cameFrom);
    }
  }

  #follow(workspace) {
    this.#following?.end();
    this.#workspace = workspace;
    this.#following = null;
    if (workspace === null) return;
    this.#following = new Following(workspace, {
      news: (touched) => {
        this.#view?.news(touched);
        this.#shell?.countConflicts();
      },
      reached: (isReached) => {
        this.#shell?.reached(isReached);
        if (isReached) this.#view?.refresh();
      },
    });
    this.#following.run();
  }

  #key(event) {
    if (this.#shell === null || event.target.closest("input, textarea, select, dialog")) return;
    if (event.key === "/" && !event.ctrlKey && !event.metaKey) this.#shell.search.focus();
    else if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey) this.#notes.undoLast();
    else if (event.key === "Backspace") this.#view?.up?.();
    else if (event.key.startsWith("Arrow") && event.target === document.body) this.#view?.grid?.focus();
    else return;
    event.preventDefault();
  }
}
