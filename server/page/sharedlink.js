/** What a link leads to, as whoever has it may know it. Keeps nothing of the answers. */

import { PlainSending } from "./plainsending.js";
import { Reading } from "./reading.js";
import { count, date, when } from "./text.js";

export class SharedLink extends Reading {
  mayChange = false;
  hasHistory = false;
  keepsWhatArrives = false;
  name = "";

  constructor(api, secret) {
    super(api, `/links/${secret}`);
  }

  /** What it leads to; throws Problem. */
  async about() {
    const about = await this.ask("GET", "");
    this.name = about.name || "Shared files";
    return about;
  }

  /** A file on its way into the folder: see plainsending.js. */
  sending(path, file, _, onProgress) {
    return new PlainSending(this.api, `${this.base}/files/${path}`, file, onProgress);
  }
}

/** The password of a link, kept as long as the page is open: the authority of requests (RFC 7617). */
export class LinkPassword {
  authority = null;

  /** Use this one from now on. */
  use(password) {
    const bytes = new TextEncoder().encode(`:${password}`);
    this.authority = `Basic ${btoa(String.fromCharCode(...bytes))}`;
  }

  forget() {
    this.authority = null;
  }
}

/** How long and how often a link can still be used, in a sentence. */
export function remaining({ expires_ns: end, transfers_left: left, link }) {
  const said = [];
  if (end !== null) said.push(`This link is good until ${when(date(end))}.`);
  if (left !== null && link === "upload") said.push(`It takes ${count(left, "more file", "more files")}.`);
  else if (left !== null) said.push(`It can be used ${count(left, "more time")}, and each look at a file counts.`);
  return said.join(" ");
}
