/** Who may see and change a workspace, and the links that lead into it: a dialog for its members. */

import { open } from "./dialog.js";
import { h, pictureButton } from "./dom.js";
import { linksPart } from "./links.js";

const ROLES = { viewer: "may look", editor: "may change" };

/** Show and change the members and links of a workspace. */
export function showSharing(workspace, notes) {
  const list = h("ul", { class: "plain members" });
  const says = h("p", { class: "says", role: "alert" });
  const name = h("input", { id: "member", autocomplete: "off", required: true, spellcheck: "false" });
  const role = h("select", { "aria-label": "What the new member may do" }, ...options("viewer"));
  const form = h(
    "form",
    { class: "line" },
    h("label", { for: "member" }, "User name"),
    h("div", {}, name, role, h("button", { class: "main" }, "Share")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    change(name.value, role.value);
  });
  const canLink = workspace.mayChange && !workspace.isSealed;
  const isOwner = workspace.role === "owner";
  open(
    `Share ${workspace.name}`,
    h(
      "div",
      { class: "body" },
      workspace.isSealed &&
        h(
          "p",
          { class: "says" },
          "It is end-to-end encrypted: give members its passphrase yourself. There are no links to its files.",
        ),
      isOwner ? form : h("p", {}, `${workspace.owner} owns this workspace and shares it.`),
      says,
      list,
      canLink && h("h3", {}, "Links, for anybody who has one"),
      canLink && linksPart(workspace, notes, { path: "", kind: "folder", name: workspace.name }, () => true),
    ),
    { className: "sharing" },
  );

  async function change(user, given) {
    try {
      await workspace.share(user, given);
      says.textContent = "";
      name.value = "";
      notes.say(given === null ? `${user} is no longer a member` : `${user} ${ROLES[given]}`);
      await load();
    } catch (error) {
      says.textContent = error.message;
    }
  }

  async function load() {
    try {
      list.replaceChildren(...(await workspace.members()).map(line));
    } catch (error) {
      says.textContent = error.message;
    }
  }

  function line(member) {
    const about = h("span", { class: "label" }, member.user);
    if (!isOwner || member.role === "owner")
      return h("li", {}, about, h("span", { class: "says" }, member.role === "owner" ? "owns it" : ROLES[member.role]));
    const select = h(
      "select",
      { "aria-label": `What ${member.user} may do`, onchange: () => change(member.user, select.value) },
      ...options(member.role),
    );
    return h(
      "li",
      {},
      about,
      select,
      pictureButton(`Share with ${member.user} no longer`, "close", () => change(member.user, null)),
    );
  }

  load();
}

function options(chosen) {
  return Object.entries(ROLES).map(([value, text]) => h("option", { value, selected: value === chosen }, text));
}
