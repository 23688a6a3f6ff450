/** How much a workspace holds, and what deduplication and compression save, with a chart. */

import { h, s } from "./dom.js";
import { ListView } from "./listview.js";
import { count, percent, size } from "./text.js";

const STEP_PX = 56;
const BAR_PX = 18;

export class SpaceView extends ListView {
  constructor(parts, workspace) {
    super(parts, workspace, "Space", "How much is stored, and what storing each block once and compressed saves.");
  }

  async load() {
    const space = await this.workspace.space();
    const bars = [
      { label: "Files as they are now", bytes: space.content_bytes, className: "content" },
      { label: "With all earlier versions", bytes: space.versions_bytes, className: "versions" },
      { label: "Each block once", bytes: space.blocks_bytes, className: "blocks" },
      { label: "Compressed and encrypted, as stored", bytes: space.stored_bytes, className: "stored" },
    ];
    return { elements: [this.#figures(space), h("li", { class: "chart" }, chart(bars))], empty: "" };
  }

  #figures(space) {
    const saved = Math.max(0, space.versions_bytes - space.stored_bytes);
    const total = space.stored_bytes + space.free_bytes;
    const figures = [
      ["Stored", size(space.stored_bytes)],
      [
        space.quota_bytes === null ? "Free on the server" : `Free of ${size(space.quota_bytes)}`,
        size(space.free_bytes),
      ],
      ["Saved", `${size(saved)} (${percent(saved, space.versions_bytes)})`],
      ["Files", count(space.files, "file")],
      ["Versions", count(space.versions, "version")],
    ];
    const meter = h(
      "meter",
      { min: "0", max: String(total), value: String(space.stored_bytes), "aria-label": "Space in use" },
      percent(space.stored_bytes, total),
    );
    return h(
      "li",
      { class: "figures" },
      h("dl", {}, ...figures.flatMap(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      meter,
    );
  }
}

/** Bars of one scale, each with its label and its size; a screen reader reads them as a list. */
function chart(bars) {
  const most = Math.max(1, ...bars.map(({ bytes }) => bytes));
  const rows = bars.flatMap(({ label, bytes, className }, at) => {
    const y = at * STEP_PX;
    const place = { x: 0, y: y + 24, height: BAR_PX, rx: 4 };
    return [
      s("text", { x: 0, y: y + 16 }, label),
      s("text", { x: "100%", y: y + 16, class: "value", "text-anchor": "end" }, size(bytes)),
      s("rect", { ...place, width: "100%", class: "full" }),
      s("rect", { ...place, width: `${(100 * bytes) / most}%`, class: className }),
    ];
  });
  const spoken = bars.map(({ label, bytes }) => `${label}: ${size(bytes)}`).join("; ");
  return s("svg", { height: bars.length * STEP_PX, role: "img", "aria-label": spoken }, ...rows);
}
