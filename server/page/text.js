/** How sizes, times and counts are written. Pure. */

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes, with three digits: "1.21 MiB". */
export function size(bytes) {
  let amount = Number(bytes);
  if (amount === 1) return "1 byte";
  let unit = 0;
  while (amount >= 1023.5 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || amount >= 99.95 ? 0 : amount >= 9.995 ? 1 : 2;
  return `${amount.toFixed(digits)} ${UNITS[unit]}`;
}

/** Nanoseconds since 1970 as a Date. */
export function date(nanoseconds) {
  return new Date(Number(BigInt(nanoseconds) / 1_000_000n));
}

/** When something was, as short as it is clear: the time today, the day this year, else with the year. */
export function when(moment, now = new Date()) {
  const today = moment.toDateString() === now.toDateString();
  if (today) return moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const year = moment.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return moment.toLocaleDateString([], { day: "numeric", month: "short", ...year });
}

/** When something was, to the second. */
export function exactly(moment) {
  return moment.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

/** "1 file", "2 files". */
export function count(number, one, many = `${one}s`) {
  return `${Number(number).toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A part of a whole: "12 %". */
export function percent(part, whole) {
  return whole > 0 ? `${Math.round((100 * part) / whole)} %` : "0 %";
}
