/**
 * Uploads: which files wait, are on their way, or are done. Owns their order and states; how bytes are sent is the
 * matter of what they go to (a workspace: sending.js; a link: plainsending.js), how they are shown uploadpanel.js's.
 *
 * States: waiting → sending → done; paused, failed and clash are left by a person's word alone. At most AT_ONCE are
 * sending: a browser has six connections to a server, and one of them is the long poll's.
 */

import { beside, encoded } from "./paths.js";
import { REFUSE, REPLACE } from "./sending.js";

const AT_ONCE = 3;
const NAMES_TRIED = 99;

class Upload {
  constructor(workspace, folder, file, names) {
    this.workspace = workspace;
    this.folder = folder;
    this.file = file;
    this.names = names;
    this.state = "waiting";
    this.sentBytes = 0;
    this.problem = "";
    this.condition = REFUSE;
    this.sending = null;
    this.copies = 1;
  }

  /** The path that it goes to. */
  get path() {
    const names = this.names.with(-1, this.copies > 1 ? beside(this.names.at(-1), this.copies) : this.names.at(-1));
    return [this.folder, ...names.map(encoded)].filter((part) => part !== "").join("/");
  }

  /** What people read. */
  get name() {
    return this.names.join("/");
  }
}

export class Uploads {
  #onChange;
  all = [];

  /** `onChange` is called with an upload that changed, or with null where the list did. */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** Whether anything would be lost if the page were closed now. */
  get isBusy() {
    return this.all.some(({ state }) => state === "waiting" || state === "sending" || state === "paused");
  }

  /** Send what was dropped or picked (see dropped.js) to a folder. Throws Problem where a folder can't be made. */
  async add(workspace, folder, { files, folders }) {
    this.all.push(...files.map(({ file, names }) => new Upload(workspace, folder, file, names)));
    this.#onChange(null);
    this.#go();
    const used = new Set(files.map(({ names }) => names.slice(0, -1).join("/")));
    const empty = folders.filter((names) => ![...used].some((path) => `${path}/`.startsWith(`${names.join("/")}/`)));
    for (const names of empty) {
      await workspace.ensureFolder([folder, ...names.map(encoded)].filter((part) => part !== "").join("/"));
    }
  }

  pause(upload) {
    if (upload.state === "sending" || upload.state === "waiting") this.#set(upload, "paused");
    upload.sending?.stop();
  }

  /** Go on with one that is paused, or try one again that failed. */
  resume(upload) {
    this.#set(upload, "waiting");
    this.#go();
  }

  /** The name is taken: a new version of what has it. */
  replace(upload) {
    this.#begin(upload, REPLACE);
  }

  /** The name is taken: the file gets another one. */
  keepBoth(upload) {
    upload.copies += 1;
    this.#begin(upload, upload.condition);
  }

  /** Forget one; what has arrived of it is forgotten by the server, too. */
  remove(upload) {
    this.all = this.all.filter((other) => other !== upload);
    upload.state = "removed";
    upload.sending?.forget();
    this.#onChange(null);
    this.#go();
  }

  /** Forget those that are done. */
  clear() {
    this.all = this.all.filter(({ state }) => state !== "done");
    this.#onChange(null);
  }

  #go() {
    let running = this.all.filter(({ state }) => state === "sending").length;
    for (const upload of this.all) {
      if (running >= AT_ONCE) return;
      if (upload.state !== "waiting") continue;
      running += 1;
      this.#send(upload);
    }
  }

  /** To another place, or under another condition: nothing that was sent so far counts for that. */
  #begin(upload, condition) {
    upload.sending?.forget();
    upload.sending = null;
    upload.condition = condition;
    this.resume(upload);
  }

  async #send(upload) {
    this.#set(upload, "sending");
    upload.sending ??= upload.workspace.sending(upload.path, upload.file, upload.condition, (bytes) => {
      upload.sentBytes = bytes;
      this.#onChange(upload);
    });
    try {
      await upload.sending.run();
      upload.sending = null;
      upload.sentBytes = upload.file.size;
      this.#set(upload, "done");
    } catch (error) {
      this.#stopped(upload, error);
    }
    this.#go();
  }

  #stopped(upload, error) {
    if (upload.state !== "sending") return;
    upload.problem = error.message;
    if (error.status !== 412) this.#set(upload, "failed");
    else if (upload.copies > 1 && upload.copies < NAMES_TRIED) this.keepBoth(upload);
    else this.#set(upload, "clash");
  }

  #set(upload, state) {
    upload.state = state;
    this.#onChange(upload);
  }
}
