/**
 * A file shown in the page: pictures, texts, PDFs, audio and video, with the ones before and after it in the list.
 *
 * Nothing of a file becomes markup of this page or a document of this site: texts, HTML among them, are text nodes, and
 * pictures, SVG among them, are in <img>, where nothing runs.
 */

import { open } from "./dialog.js";
import { h, pictureButton } from "./dom.js";
import { showHistory } from "./history.js";
import { kindOf, textOf } from "./kinds.js";
import { count, size } from "./text.js";

const TEXT_MOST = 512 * 1024;

/** Show an item of a view's list (see itemsview.js) in a dialog. */
export function showPreview(view, item) {
  const files = () => view.grid.items.filter(({ kind }) => kind === "file");
  let shown = item;
  let release = () => {};
  const place = h("div", { class: "shown" });
  const where = h("p", { class: "says" });
  const go = (by) => {
    const all = files();
    const next = all[all.findIndex(({ path }) => path === shown.path) + by];
    if (next !== undefined) show(next);
  };
  const previous = pictureButton("Previous file", "previous", () => go(-1));
  const next = pictureButton("Next file", "next", () => go(1));
  const heading = [
    previous,
    next,
    pictureButton("Download", "download", () => view.actions.download([shown])),
    view.workspace.hasHistory && pictureButton("History", "history", () => showHistory(view, shown)),
  ];
  const { dialog, closed, title } = open(item.name, h("div", { class: "body" }, place, where), {
    className: "preview",
    heading,
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("audio, video, pre") || event.altKey) return;
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });

  async function show(other) {
    shown = other;
    release();
    title.textContent = other.name;
    const all = files();
    const at = all.findIndex(({ path }) => path === other.path);
    previous.disabled = at <= 0;
    next.disabled = at < 0 || at === all.length - 1;
    where.textContent = `${size(other.size)}${at < 0 ? "" : `, ${at + 1} of ${count(all.length, "file")}`}`;
    place.replaceChildren(h("p", { class: "says" }, "Loading …"));
    const made = await preview(view.parts.content, view.workspace.contentUrl(other.path), other.name);
    if (shown !== other || !dialog.open) {
      made.release();
      return;
    }
    release = made.release;
    place.replaceChildren(made.element);
  }

  show(item);
  closed.then(() => {
    release();
    view.grid.focus(shown.path);
  });
}

/** An element that shows a content: `{element, release}`; where that fails, one that says why. */
export async function preview(content, url, name, most = TEXT_MOST) {
  const { how, type } = kindOf(name);
  try {
    switch (how) {
      case "image":
        return await withSource(content, url, type, (src) => h("img", { src, alt: name }));
      case "audio":
      case "video":
        return await withSource(content, url, type, (src) =>
          h(how, { src, controls: true, preload: "metadata", "aria-label": name }),
        );
      case "pdf": {
        const { url: src, release } = await content.blob(url, "application/pdf");
        return { element: h("iframe", { src, title: name }), release };
      }
      default:
        return { element: await textElement(content, url, name, most), release() {} };
    }
  } catch (error) {
    return { element: h("p", { class: "says" }, error.message), release() {} };
  }
}

async function withSource(content, url, type, make) {
  const { url: src, release } = await content.source(url, type);
  const element = make(src);
  element.addEventListener(
    "error",
    () => element.replaceWith(h("p", { class: "says" }, "This can't be shown here. Download it to look at it.")),
    { once: true },
  );
  return {
    element,
    release() {
      element.removeAttribute("src");
      element.load?.();
      release();
    },
  };
}

async function textElement(content, url, name, most) {
  const bytes = await content.bytes(url, most);
  const text = textOf(bytes);
  if (text === null)
    return h("p", { class: "says" }, "This kind of file can't be shown here. Download it to look at it.");
  const pre = h("pre", { tabindex: "0", role: "region", "aria-label": name }, text);
  return bytes.length < most
    ? pre
    : h("div", { class: "cut" }, pre, h("p", { class: "says" }, `The first ${size(most)} are shown.`));
}
