/** In which order a folder is shown. Pure. */

const NAMES = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

const BY = {
  name: (one, other) => NAMES.compare(one.name, other.name) || (one.path < other.path ? -1 : 1),
  size: (one, other) => (one.size ?? 0) - (other.size ?? 0),
  time: (one, other) => compare(BigInt(one.mtime_ns ?? 0), BigInt(other.mtime_ns ?? 0)),
};

/** Items in order of a column: folders first, names as the last word. */
export function sorted(items, { column, descending }) {
  const turn = descending ? -1 : 1;
  return items.toSorted((one, other) => {
    const folders = Number(other.kind === "folder") - Number(one.kind === "folder");
    return folders || turn * BY[column](one, other) || BY.name(one, other);
  });
}

function compare(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}
