/** The versions of a file, each of which can be downloaded and be the newest again. */

import { open } from "./dialog.js";
import { button, h, timeElement } from "./dom.js";
import { preview } from "./preview.js";
import { date, exactly, size } from "./text.js";

/** Show the history of an item of a view's list. */
export function showHistory(view, item) {
  const { workspace, parts, actions } = view;
  const list = h("ol", { class: "versions" });
  const says = h("p", { class: "says", role: "status" }, "Loading …");
  const place = h("div", { class: "shown" });
  const more = button("Older versions", null, () => load(oldest));
  more.hidden = true;
  let oldest;
  let release = () => {};
  const { dialog, closed } = open(`History of ${item.name}`, h("div", { class: "body" }, list, more, says, place), {
    className: "history",
  });
  closed.then(() => release());

  async function load(before) {
    try {
      const page = await workspace.history(item.path, before);
      says.textContent = "";
      list.append(...page.versions.map((version) => line(version, page.item)));
      oldest = page.versions.at(-1)?.number;
      more.hidden = !page.more;
    } catch (error) {
      says.textContent = error.message;
    }
  }

  function line(version, head) {
    const { number } = version;
    const moment = date(version.committed_ns);
    const by = [version.user, version.device].filter(Boolean).join(", ");
    const isHead = number === head.version;
    const look = button("Look", null, () => show(number), { "aria-label": `Look at version ${number}` });
    const download = button("Download", null, () => actions.downloadVersion(item, number), {
      "aria-label": `Download version ${number}`,
    });
    const restore = button("Restore", null, () => bringBack(head, number), {
      "aria-label": `Restore version ${number}`,
    });
    return h(
      "li",
      {},
      h(
        "div",
        { class: "about" },
        h("p", {}, h("strong", {}, `Version ${number}`), isHead && h("span", { class: "badge" }, "now")),
        h(
          "p",
          { class: "says" },
          timeElement(exactly(moment), moment.toISOString()),
          `, ${size(version.size)}${by && `, by ${by}`}`,
        ),
      ),
      h("div", { class: "actions" }, look, download, !isHead && workspace.mayChange && restore),
    );
  }

  async function show(number) {
    release();
    place.replaceChildren(h("p", { class: "says" }, "Loading …"));
    const made = await preview(parts.content, workspace.contentUrl(item.path, number), item.name);
    release = made.release;
    place.replaceChildren(h("h3", {}, `Version ${number}`), made.element);
    made.element.scrollIntoView({ block: "nearest" });
  }

  async function bringBack(head, number) {
    if ((await actions.restore(head, number)) === null) return;
    dialog.close();
    await view.refresh();
  }

  load();
}
