/**
 * Where a person is: what the address after "#" says, so that back, forward and bookmarks work. Never sent to a server.
 *
 * "#files/WORKSPACE/PATH", "#search/WORKSPACE/TEXT", "#trash/WORKSPACE", "#conflicts/…", "#space/…", "#devices/…".
 */

import { isPath } from "./paths.js";

export const FILES = "files";
export const SEARCH = "search";
export const TRASH = "trash";
export const CONFLICTS = "conflicts";
export const SPACE = "space";
export const DEVICES = "devices";

const VIEWS = new Set([FILES, SEARCH, TRASH, CONFLICTS, SPACE, DEVICES]);

/** What an address says: `{view, workspace, rest}`; null where it says nothing. */
export function read(hash) {
  const [view, workspace = "", ...parts] = hash.replace(/^#/, "").split("/");
  const rest = parts.join("/");
  return VIEWS.has(view) && (view !== FILES || isPath(rest)) ? { view, workspace, rest } : null;
}

/** The address of a view. `rest` is percent-encoded. */
export function address(view, workspace, rest = "") {
  return `#${view}/${workspace}${rest && `/${rest}`}`;
}
