/** What a file is by its name: which picture stands beside it, and how it can be shown. Pure. */

const SHOWN = {
  image: {
    png: "png",
    jpg: "jpeg",
    jpeg: "jpeg",
    gif: "gif",
    webp: "webp",
    avif: "avif",
    bmp: "bmp",
    svg: "svg+xml",
    ico: "x-icon",
  },
  audio: { mp3: "mpeg", wav: "wav", ogg: "ogg", oga: "ogg", opus: "ogg", flac: "flac", m4a: "mp4", aac: "aac" },
  video: { mp4: "mp4", m4v: "mp4", webm: "webm", ogv: "ogg", mov: "quicktime" },
  application: { pdf: "pdf" },
};

const TEXTS = new Set([
  ...["txt", "md", "rst", "log", "csv", "tsv", "json", "xml", "html", "htm", "css", "yaml", "yml", "toml", "ini", "cfg"],
  ...["conf", "sql", "tex", "diff", "patch", "sh", "py", "js", "mjs", "ts", "c", "h", "cpp", "hpp", "rs", "go", "java"],
  ...["rb"],
]);

/** How a file of this name is shown: `{how, type}` with how one of image, audio, video, pdf, text, unknown. */
export function kindOf(name) {
  const extension = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1).toLowerCase() : "";
  for (const [family, types] of Object.entries(SHOWN)) {
    const type = Object.hasOwn(types, extension) ? types[extension] : undefined;
    if (type !== undefined) return { how: family === "application" ? "pdf" : family, type: `${family}/${type}` };
  }
  return { how: TEXTS.has(extension) ? "text" : "unknown", type: "text/plain" };
}

/** The symbol that stands beside an item's name. */
export function symbolOf(item) {
  if (item.kind === "folder") return "folder";
  if (item.kind === "symlink") return "link";
  const { how } = kindOf(item.name);
  return how === "unknown" ? "file" : how;
}

/** What an item is, in words. */
export function wordsFor(item) {
  if (item.kind === "folder") return "Folder";
  if (item.kind === "symlink") return "Link";
  if (item.kind !== "file") return "Special file";
  const { how } = kindOf(item.name);
  return { image: "Image", audio: "Audio", video: "Video", pdf: "PDF", text: "Text", unknown: "File" }[how];
}

/** The text of bytes, or null where they are none (a NUL, or no UTF-8). A cut character at the end is left out. */
export function textOf(bytes) {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
  } catch {
    return null;
  }
}
