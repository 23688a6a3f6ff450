/** Asks for a folder: a dialog in which a person goes down and up the tree. */

import { open } from "./dialog.js";
import { h, icon } from "./dom.js";
import { crumbs } from "./crumbs.js";
import { sorted } from "./order.js";

/** The path of a folder, or null. `action` is what its button says. */
export async function pickFolder(workspace, title, action, start) {
  let at = start;
  const where = h("div", { class: "where" });
  const list = h("ul", { class: "folders" });
  const says = h("p", { class: "says", role: "status" });
  const choose = h("button", { type: "button", class: "main", onclick: () => dialog.close(`=${at}`) }, action);
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const { dialog, closed } = open(title, h("div", {}, where, list, says, h("footer", {}, cancel, choose)));

  async function show(path) {
    at = path;
    where.replaceChildren(crumbs(workspace, path, { onOpen: show }));
    const folders = [];
    try {
      for await (const page of workspace.folder(path))
        folders.push(...page.items.filter(({ kind }) => kind === "folder"));
    } catch (error) {
      says.textContent = error.message;
    }
    if (at !== path) return;
    const rows = sorted(folders, { column: "name", descending: false }).map((item) =>
      h(
        "li",
        {},
        h("button", { type: "button", onclick: () => show(item.path) }, icon("folder"), h("span", {}, item.name)),
      ),
    );
    list.replaceChildren(...rows);
    says.textContent = rows.length === 0 ? "No folders in here." : "";
    (list.querySelector("button") ?? choose).focus();
  }

  await show(start);
  const answer = await closed;
  return answer.startsWith("=") ? answer.slice(1) : null;
}
