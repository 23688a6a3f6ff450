/**
 * Marks in names, such as " (conflict from laptop 2026-11-24 10.00.00)" before the extension, as protocol/marks.py has
 * them. Pure.
 *
 * Names are texts of one character a byte. `withMarks` and `splitMarks` are inverse of each other.
 */

const EXTENSION_MOST = 32;
const NO_EXTENSION = /[ \t\n\r\f\v()]/;
const MARK =
  " \\((?:conflict from [^()/\\0]{0,64}|restored) \\d{4}-\\d\\d-\\d\\d \\d\\d\\.\\d\\d\\.\\d\\d(?: [1-9]\\d{0,4})?\\)";
const MARKS = new RegExp(`^(?:${MARK})*$`);
const LAST_MARK = new RegExp(`${MARK}$`);

/** A name with marks. */
export function withMarks(base, marks) {
  const [stem, extension] = parts(base);
  return stem + marks + extension;
}

/** A name without its marks, and these. */
export function splitMarks(name) {
  let [base, marks] = [name, ""];
  for (;;) {
    const [stem, extension] = parts(base);
    const found = LAST_MARK.exec(stem);
    if (found === null) return [base, marks];
    const without = stem.slice(0, found.index) + extension;
    if (without === "" || withMarks(without, found[0]) !== base) return [base, marks];
    [base, marks] = [without, found[0] + marks];
  }
}

/** Whether this is marks, or nothing. */
export function areMarks(text) {
  return MARKS.test(text);
}

/** Stem and extension: what begins with the last dot, where something else than dots is before it. */
function parts(name) {
  const dot = name.lastIndexOf(".");
  const extension = dot < 0 ? "" : name.slice(dot);
  const hasStem = /[^.]/.test(name.slice(0, Math.max(dot, 0)));
  if (!hasStem || extension.length > EXTENSION_MOST || NO_EXTENSION.test(extension)) return [name, ""];
  return [name.slice(0, dot), extension];
}
