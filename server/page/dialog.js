/**
 * Questions to a person: each opens a <dialog>, which holds the keyboard until it is closed, and returns the answer.
 */

import { h, pictureButton } from "./dom.js";

/**
 * Open a dialog with a heading; returns `{dialog, closed}`. It is removed when it closes, and who had the keyboard
 * has it again.
 */
export function open(title, content, { className = "", heading = [] } = {}) {
  const before = document.activeElement;
  const close = pictureButton("Close", "close", () => dialog.close());
  const id = `title-${document.querySelectorAll("dialog").length}`; // One can be open above another.
  const name = h("h2", { id }, title);
  const dialog = h(
    "dialog",
    { class: className, "aria-labelledby": id },
    h("header", {}, name, ...heading, close),
    content,
  );
  document.body.append(dialog);
  const closed = new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(dialog.returnValue);
    });
  });
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.showModal();
  return { dialog, closed, title: name };
}

/** A line of text, or null where the person thinks better of it. `complaint` says what is wrong with one. */
export async function askLine(title, label, { value = "", action = "OK", complaint = () => "", type = "text" } = {}) {
  const input = h("input", { id: "answer", type, value, autocomplete: "off", spellcheck: "false", required: true });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const form = h(
    "form",
    { novalidate: true },
    h("label", { for: "answer" }, label),
    input,
    wrong,
    h(
      "footer",
      {},
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
      h("button", { class: "main" }, action),
    ),
  );
  const { dialog, closed } = open(title, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const found = complaint(input.value);
    if (found === "") dialog.close(`=${input.value}`);
    else wrong.textContent = found;
  });
  const dot = value.lastIndexOf(".");
  input.focus();
  input.setSelectionRange(0, dot > 0 ? dot : value.length);
  const answer = await closed;
  return answer.startsWith("=") ? answer.slice(1) : null;
}

/** Whether a person agrees. */
export async function agrees(title, text, action) {
  const { dialog, closed } = open(
    title,
    h(
      "div",
      {},
      h("p", {}, text),
      h(
        "footer",
        {},
        h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { type: "button", class: "danger", autofocus: true, onclick: () => dialog.close("yes") }, action),
      ),
    ),
  );
  return (await closed) === "yes";
}
