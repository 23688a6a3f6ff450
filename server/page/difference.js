/** Which lines of two texts the other has not. Pure. */

const LINES_MOST = 1500;

/**
 * Both texts as lines, `{text, own}`: those of a longest common subsequence are not a text's own. Null where the
 * texts are too long for that.
 */
export function difference(one, other) {
  const [left, right] = [one.split("\n"), other.split("\n")];
  if (left.length > LINES_MOST || right.length > LINES_MOST) return null;
  const width = right.length + 1;
  const longest = new Uint16Array((left.length + 1) * width);
  for (let a = left.length - 1; a >= 0; a -= 1) {
    for (let b = right.length - 1; b >= 0; b -= 1) {
      const at = a * width + b;
      longest[at] = left[a] === right[b] ? longest[at + width + 1] + 1 : Math.max(longest[at + width], longest[at + 1]);
    }
  }
  const marked = { left: left.map((text) => ({ text, own: true })), right: right.map((text) => ({ text, own: true })) };
  for (let a = 0, b = 0; a < left.length && b < right.length;) {
    const at = a * width + b;
    if (left[a] === right[b]) {
      marked.left[a].own = false;
      marked.right[b].own = false;
      a += 1;
      b += 1;
    } else if (longest[at + width] >= longest[at + 1]) a += 1;
    else b += 1;
  }
  return marked;
}
