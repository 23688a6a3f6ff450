/** The way from the workspace's root to a folder, each step of which leads there. */

import { h } from "./dom.js";
import { address, FILES } from "./place.js";

/**
 * Links to each folder on the way; with `onOpen`, buttons that call it with the path. With `onDrop`, a step takes
 * what is dropped on it.
 */
export function crumbs(workspace, path, { onOpen = null, onDrop = null } = {}) {
  const all = [{ name: workspace.name, path: "" }, ...workspace.steps(path)];
  const items = all.map((step, at) => {
    const properties = at === all.length - 1 ? { "aria-current": "page" } : {};
    const element = onOpen
      ? h("button", { type: "button", ...properties, onclick: () => onOpen(step.path) }, step.name)
      : h("a", { href: address(FILES, workspace.id, step.path), ...properties }, step.name);
    if (onDrop) takeDrops(element, step.path, onDrop);
    return h("li", {}, element);
  });
  return h("nav", { class: "crumbs", "aria-label": "Folder" }, h("ol", {}, ...items));
}

function takeDrops(element, path, onDrop) {
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    event.stopPropagation();
    element.classList.add("target");
  });
  element.addEventListener("dragleave", () => element.classList.remove("target"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    element.classList.remove("target");
    onDrop({ path }, event);
  });
}
