/**
 * Who is logged in: owns the token and where it is kept.
 *
 * The token goes out in a header that this page sets, never in a cookie: a cookie would travel with requests that
 * other sites cause. It is kept in sessionStorage, which ends with the tab; who wants to stay logged in has it in
 * localStorage. Other sites can read neither, and no script but the page's own runs here (Content-Security-Policy in
 * server/routes/page.py; files are never opened as documents of this site: content.js).
 */

const KEY = "samedrive.login";
const BROWSER = "samedrive.browser";

export class Login {
  #kept;

  constructor() {
    this.#kept = JSON.parse(sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? "null");
  }

  /** The token, or null. */
  get token() {
    return this.#kept?.token ?? null;
  }

  /** What the header Authorization says, or null. */
  get authority() {
    return this.#kept === null ? null : `Bearer ${this.#kept.token}`;
  }

  /** The user's name. */
  get user() {
    return this.#kept?.user ?? "";
  }

  /** The id of this browser among the user's devices. */
  get device() {
    return this.#kept?.device ?? "";
  }

  /** Keep what the server answered. */
  keep(user, { token, device }, stays) {
    this.#kept = { user, token, device };
    (stays ? localStorage : sessionStorage).setItem(KEY, JSON.stringify(this.#kept));
  }

  /** There is no token any more. */
  forget() {
    this.#kept = null;
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
  }
}

/**
 * What this browser is called among the user's devices. A log-in under a name takes that name's token away from whoever
 * had it, so each tab that doesn't stay logged in has a name of its own.
 */
export function browserName(stays) {
  const store = stays ? localStorage : sessionStorage;
  const known = store.getItem(BROWSER);
  if (known !== null) return known;
  const number = Array.from(crypto.getRandomValues(new Uint8Array(2)), (byte) => byte.toString(16).padStart(2, "0"));
  const name = `${browser()} on ${system()} (${number.join("")})`;
  store.setItem(BROWSER, name);
  return name;
}

function browser() {
  return (
    ["Firefox", "Edg", "Chrome", "Safari"].find((name) => navigator.userAgent.includes(name))?.replace("Edg", "Edge") ??
    "Browser"
  );
}

function system() {
  const known = {
    Android: "Android",
    iPhone: "iPhone",
    iPad: "iPad",
    Windows: "Windows",
    Macintosh: "Mac",
    Linux: "Linux",
  };
  return Object.entries(known).find(([sign]) => navigator.userAgent.includes(sign))?.[1] ?? "a device";
}
