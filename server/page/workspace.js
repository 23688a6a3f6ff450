/** One workspace as the server knows it: every request about files and folders. Keeps nothing of the answers. */

import * as paths from "./paths.js";
import { Reading } from "./reading.js";
import { Sending } from "./sending.js";

export class Workspace extends Reading {
  /** What has arrived of an upload counts when it is gone on with. */
  keepsWhatArrives = true;
  hasHistory = true;
  /** Whether its names and contents are opened here and not by the server: see sealedworkspace.js. */
  isSealed = false;

  /** `row` is the server's message about the workspace. */
  constructor(api, row) {
    super(api, `/workspaces/${row.id}`);
    this.id = row.id;
    this.name = row.name;
    this.owner = row.owner;
    this.role = row.role;
    this.seq = row.seq ?? 0;
    this.isDefault = row.default ?? false;
  }

  /** Whether its files may be changed. */
  get mayChange() {
    return this.role !== "viewer";
  }

  /** The encoded name of what a person typed. */
  async encoded(name) {
    return paths.encoded(name);
  }

  item(path) {
    return this.ask("GET", `/items/${path}`);
  }

  makeFolder(path) {
    return this.ask("PUT", `/folders/${path}`);
  }

  /** Makes the folder with those above it; one that is there is no problem. */
  async ensureFolder(path) {
    try {
      await this.ask("PUT", `/folders/${path}?parents=1`);
    } catch (error) {
      if (error.status !== 409) throw error;
    }
  }

  remove(item) {
    if (item.kind === "folder") return this.ask("DELETE", `/folders/${item.path}?recursive=1`);
    return this.ask("DELETE", `/files/${item.path}`);
  }

  move(from, to) {
    return this.ask("POST", "/move", { body: { from, to } });
  }

  copy(from, to) {
    return this.ask("POST", "/copy", { body: { from, to } });
  }

  history(path, before) {
    return this.ask("GET", `/history/${path}?limit=50${before === undefined ? "" : `&before=${before}`}`);
  }

  restore(path, version) {
    return this.ask("POST", "/restore", { body: { path, version } });
  }

  trash(after) {
    return this.ask("GET", `/trash?limit=200${after === null ? "" : `&after=${after}`}`);
  }

  bringBack(node) {
    return this.ask("POST", `/trash/${node}`);
  }

  search(text, after, signal) {
    const more = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    return this.ask("GET", `/search?q=${encodeURIComponent(text)}&limit=200${more}`, { signal });
  }

  /** What changed after `after`: at once where there is something, else when there is or the wait is over. */
  async changes(after, waitSeconds, signal) {
    return (await this.ask("GET", `/changes?after=${after}&wait_s=${waitSeconds}`, { signal })).notices;
  }

  async conflicts() {
    const found = [];
    for (let more = true; more;) {
      const after = found.length > 0 ? `?after=${found.at(-1).node}` : "";
      const page = await this.ask("GET", `/conflicts${after}`);
      found.push(...page.conflicts);
      more = (page.more ?? false) && page.conflicts.length > 0;
    }
    return found;
  }

  /** Ends a conflict: `keep` is mine, theirs or both. */
  resolve(copy, keep) {
    const original_version = copy.original?.version ?? null;
    return this.ask("POST", `/conflicts/${copy.node}`, {
      body: { keep, version: copy.version ?? 0, original_version },
    });
  }

  space() {
    return this.ask("GET", "/space");
  }

  async members() {
    return (await this.ask("GET", "/members")).members;
  }

  /** Makes somebody a member; role null: no longer one. */
  share(user, role) {
    if (role === null) return this.ask("DELETE", `/members/${encodeURIComponent(user)}`);
    return this.ask("POST", "/members", { body: { user, role } });
  }

  /** A file on its way to a path: see sending.js. */
  sending(path, file, condition, onProgress) {
    return new Sending(this.api, this.id, path, file, condition, onProgress);
  }

  async links() {
    return (await this.ask("GET", "/links")).links;
  }

  /** Makes a link: `{link, secret}`. */
  makeLink(wanted) {
    return this.ask("POST", "/links", { body: wanted });
  }

  revokeLink(id) {
    return this.ask("DELETE", `/links/${id}`);
  }
}
