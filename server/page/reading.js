/** Folders and contents below an address: a workspace's, or those that a link leads to. Keeps no answers. */

import * as paths from "./paths.js";

const PAGE = 1000;

export class Reading {
  /** `base` is below "/v1". */
  constructor(api, base) {
    this.api = api;
    this.base = base;
  }

  /** An encoded name as people read it. */
  shown(name) {
    return paths.shown(name);
  }

  /** The names of a path as people read them, each with the path that leads to it. */
  steps(path) {
    return paths.steps(path, (name) => this.shown(name));
  }

  /** The pages of a folder: yields `{item, items, more}`. */
  async *folder(path, signal) {
    let after = "";
    for (let more = true; more;) {
      const page = await this.ask("GET", `/folders/${path}?limit=${PAGE}${after && `&after=${after}`}`, { signal });
      yield page;
      more = (page.more ?? false) && page.items.length > 0;
      after = more ? page.items.at(-1).path.split("/").at(-1) : "";
    }
  }

  /** Where a file's content is. */
  contentUrl(path, version) {
    return `/v1${this.base}/files/${path}${version === undefined ? "" : `?version=${version}`}`;
  }

  /** Where a file is as a download. */
  downloadUrl(path, version) {
    return `/v1${this.base}/files/${path}?download=1${version === undefined ? "" : `&version=${version}`}`;
  }

  /** Where a folder is as a zip. */
  archiveUrl(path) {
    return `/v1${this.base}/archive/${path}`;
  }

  /** The message that answers a request about it; throws Problem. */
  ask(method, path, options) {
    return this.api.ask(method, `${this.base}${path}`, options);
  }
}
