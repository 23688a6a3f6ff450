/**
 * Paths: names from the workspace's root, percent-encoded byte by byte, with "/" between them; "" is the root. Pure.
 *
 * A name is any bytes but "/" and NUL, so a path is kept as the server writes it and only decoded to be shown.
 */

const UTF8 = new TextDecoder();

/** The encoded name of what a person typed, as the server would write it. */
export function encoded(name) {
  const left = (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(name.toWellFormed()).replace(/[!'()*]/g, left);
}

/** The encoded name of bytes in base64, as messages for mounts carry them. */
export function encodedBytes(base64) {
  return encodedBinary(atob(base64));
}

/** The encoded name of bytes, one character each. */
export function encodedBinary(name) {
  return Array.from(name, (char) =>
    /[A-Za-z0-9._~-]/.test(char) ? char : `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  ).join("");
}

/** An encoded name or path as its bytes, one character each. */
export function binary(path) {
  return path.replace(/%([0-9A-Fa-f]{2})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16)));
}

/** An encoded name as people read it: bytes that are no UTF-8 become U+FFFD. */
export function shown(name) {
  return UTF8.decode(Uint8Array.from(binary(name), (char) => char.charCodeAt(0)));
}

/** The path of a name in a folder. */
export function below(folder, name) {
  return folder === "" ? name : `${folder}/${name}`;
}

/** The folder that a path's last name is in. */
export function parent(path) {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** A path's last name. */
export function last(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The names of a path as `read` shows them, each with the path that leads to it. */
export function steps(path, read = shown) {
  const names = path === "" ? [] : path.split("/");
  return names.map((name, at) => ({ name: read(name), path: names.slice(0, at + 1).join("/") }));
}

/** Whether a text, such as a part of an address, is a path: a browser takes "." and ".." out of what it asks for. */
export function isPath(text) {
  const isName = (part) => !/[?#\\]/.test(part) && !["", ".", ".."].includes(binary(part));
  return text === "" || text.split("/").every(isName);
}

/** Whether `path` is `folder` or below it. */
export function isWithin(path, folder) {
  return folder === "" || path === folder || path.startsWith(`${folder}/`);
}

/** Another name of the same kind for what is kept beside it: "a (2).txt". */
export function beside(name, number) {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? `${name.slice(0, dot)} (${number})${name.slice(dot)}` : `${name} (${number})`;
}

/** What is wrong with a name that a person typed; "" where nothing is. */
export function complaint(name) {
  if (name === "") return "Type a name.";
  if (name === "." || name === "..") return `"${name}" means a folder already.`;
  if (name.includes("/") || name.includes("\0")) return "A name can't contain a slash.";
  if (new TextEncoder().encode(name).length > 255) return "This name is too long: at most 255 bytes.";
  return "";
}
