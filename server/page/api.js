/**
 * Requests to this server. Knows how a message is sent, and what an answer that is a problem says (RFC 9457).
 *
 * Whole numbers past 2^53, such as ids of nodes and nanoseconds, are handed on as strings of digits: as numbers of
 * JavaScript they would be rounded.
 */

/** The server didn't do what it was asked. `message` is for people; `code` is one of protocol/problems.py. */
class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

const OFFLINE = "The server does not answer. Is it running, and is this device online?";

/** What a text of JSON says, long whole numbers as strings. */
export function decode(text) {
  const exact = text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g, (found) =>
    found[0] === '"' ? found : `"${found}"`,
  );
  return JSON.parse(exact);
}

/** The problem that an answer's text says. */
export function problem(status, text) {
  try {
    const { code, detail, title } = JSON.parse(text);
    return new Problem(status, code ?? "", sentence(detail || title || `The server answered ${status}.`));
  } catch {
    return new Problem(status, "", `The server answered ${status}.`);
  }
}

/** The problem of a request that got no answer. */
export function unanswered() {
  return new Problem(0, "offline", OFFLINE);
}

export class Api {
  #login;
  #onLoggedOut;

  /** `login` has the authority; `onLoggedOut` is called where the server refuses it. */
  constructor(login, onLoggedOut) {
    this.#login = login;
    this.#onLoggedOut = onLoggedOut;
  }

  /** The headers that say who asks. */
  get authority() {
    return this.#login.authority === null ? {} : { Authorization: this.#login.authority };
  }

  /** A response whose status is good; throws Problem. */
  async send(method, path, { body, headers = {}, signal } = {}) {
    const all = { ...this.authority, ...headers };
    let content = body;
    if (body !== undefined && !(body instanceof Blob)) {
      all["Content-Type"] = "application/json";
      content = JSON.stringify(body);
    }
    // Without credentials: the browser neither asks for a link's password by itself nor keeps it.
    const how = { credentials: "omit", cache: "no-store" };
    let response;
    try {
      response = await fetch(`/v1${path}`, { method, headers: all, body: content, signal, ...how });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw unanswered();
    }
    if (response.ok) return response;
    throw this.refused(response.status, await response.text());
  }

  /** The message that answers a request; throws Problem. */
  async ask(method, path, options) {
    const response = await this.send(method, path, options);
    return response.status === 204 ? null : decode(await response.text());
  }

  /** The problem of a refusal, which may end the log-in. */
  refused(status, text) {
    if (status === 401 && this.#login.authority !== null) this.#onLoggedOut();
    return problem(status, text);
  }
}

function sentence(text) {
  const begun = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
