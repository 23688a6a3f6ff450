/**
 * Links for anybody: making one to an item, those that there are, and ending them.
 *
 * The server keeps no secret, so an address is shown once, when it is made.
 */

import { agrees, open } from "./dialog.js";
import { button, h, icon, timeElement } from "./dom.js";
import { count, date, when } from "./text.js";

const DAY_MS = 86_400_000;
const ENDS = { 1: "in a day", 7: "in 7 days", 30: "in 30 days", 365: "in a year", "": "when it is revoked" };
const USUAL_END = "30";

/** Whether links lead to such items. */
export function isLinkable({ kind }) {
  return kind === "file" || kind === "folder";
}

/** A dialog about the links to an item. */
export function showLinks(workspace, notes, item) {
  open(
    `Link to ${item.name}`,
    h(
      "div",
      { class: "body" },
      linksPart(workspace, notes, item, ({ path }) => path === item.path),
    ),
    {
      className: "sharing",
    },
  );
}

/** A part of a dialog: a form for a link to an item, and the workspace's links that `concerns` says yes to. */
export function linksPart(workspace, notes, item, concerns) {
  const list = h("ul", { class: "plain links", "aria-label": "Links" });
  const says = h("p", { class: "says", role: "alert" });
  const made = h("div", { class: "made", role: "status" });

  async function make(wanted) {
    try {
      const { secret } = await workspace.makeLink({ path: item.path, ...wanted });
      says.textContent = "";
      made.replaceChildren(addressLine(`${location.origin}/v1/links/${secret}`, notes));
      made.querySelector("input").select();
      await load();
    } catch (error) {
      says.textContent = error.message;
    }
  }

  async function revoke(link) {
    const where = whereTo(link, workspace);
    if (!(await agrees(`Revoke the link to ${where}?`, "Whoever has it can't use it any more.", "Revoke"))) return;
    try {
      await workspace.revokeLink(link.id);
      made.replaceChildren();
      notes.say(`The link to ${where} is revoked`);
    } catch (error) {
      says.textContent = error.message;
    }
    await load();
  }

  async function load() {
    try {
      const links = (await workspace.links()).filter(concerns).toReversed();
      list.replaceChildren(...links.map((link) => line(link, workspace, () => revoke(link))));
    } catch (error) {
      says.textContent = error.message;
    }
  }

  load();
  return h("section", { class: "linking" }, form(item, make), says, made, list);
}

function form(item, make) {
  const kind = h(
    "select",
    { id: "link-kind" },
    h("option", { value: "read" }, item.kind === "folder" ? "look at and fetch what is in it" : "look at and fetch it"),
    item.kind === "folder" && h("option", { value: "upload" }, "bring files, and see none"),
  );
  const end = h(
    "select",
    { id: "link-end" },
    ...["1", "7", "30", "365", ""].map((days) =>
      h("option", { value: days, selected: days === USUAL_END }, ENDS[days]),
    ),
  );
  const password = h("input", { id: "link-password", autocomplete: "off", spellcheck: "false", placeholder: "none" });
  const most = h("input", { id: "link-most", type: "number", min: "1", step: "1", placeholder: "no limit" });
  const times = h("label", { for: "link-most" });
  const name = () => {
    times.textContent = kind.value === "read" ? "Fetched at most so often" : "Files at most";
  };
  kind.addEventListener("change", name);
  name();
  return h(
    "form",
    {
      class: "pairs",
      onsubmit: (event) => {
        event.preventDefault();
        make({
          kind: kind.value,
          expires_ns: end.value === "" ? null : (Date.now() + Number(end.value) * DAY_MS) * 1_000_000,
          password: password.value === "" ? null : password.value,
          transfers_max: most.value === "" ? null : Number(most.value),
        });
      },
    },
    h("label", { for: "link-kind" }, "Whoever has it may"),
    kind,
    h("label", { for: "link-end" }, "It ends"),
    end,
    h("label", { for: "link-password" }, "Password"),
    password,
    times,
    most,
    h("button", { class: "main" }, icon("link"), h("span", {}, "Make a link")),
  );
}

function addressLine(address, notes) {
  const field = h("input", { readonly: true, value: address, "aria-label": "The link's address" });
  field.addEventListener("focus", () => field.select());
  const copy = async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(address);
      notes.say("The address is copied");
    } catch {
      notes.say("The address is selected: copy it with the keyboard.");
    }
  };
  return h(
    "div",
    { class: "line" },
    h("p", {}, "This address is shown now and never again:"),
    h("div", {}, field, button("Copy", "copy", copy)),
  );
}

function line(link, workspace, revoke) {
  const where = whereTo(link, workspace);
  return h(
    "li",
    {},
    icon(link.kind === "upload" ? "upload" : link.leads_to === "folder" ? "folder" : "file"),
    h(
      "div",
      { class: "about" },
      h(
        "p",
        { class: "label" },
        where,
        h("span", { class: "badge" }, link.kind === "upload" ? "for files that are brought" : "to look and fetch"),
        link.has_password && h("span", { class: "badge" }, "with a password"),
      ),
      h("p", { class: "says" }, ...told(link)),
    ),
    button("Revoke", "close", revoke, { class: "danger", "aria-label": `Revoke the link to ${where}` }),
  );
}

/** What is known of a link, in words. */
function told(link) {
  const content = link.kind === "upload" ? "brought" : "fetched";
  const most = link.transfers_max === null ? "" : ` of ${link.transfers_max}`;
  const ended = link.expires_ns !== null && date(link.expires_ns) < new Date();
  return [
    `by ${link.made_by}, ${ended ? "ended" : "ends"} `,
    link.expires_ns === null ? "when it is revoked" : time(link.expires_ns),
    `; used ${count(link.uses, "time")}, ${content} ${link.transfers}${most}`,
    ...(link.used_ns === 0 ? [] : [", last ", time(link.used_ns)]),
  ];
}

function time(nanoseconds) {
  const moment = date(nanoseconds);
  return timeElement(when(moment), moment.toISOString());
}

function whereTo(link, workspace) {
  if (link.path === null) return "what was removed";
  return link.path === ""
    ? workspace.name
    : workspace
        .steps(link.path)
        .map(({ name }) => name)
        .join(" / ");
}
