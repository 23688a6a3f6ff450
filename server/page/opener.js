/**
 * The worker of one end-to-end workspace: derives its keys, keeps them, and opens names and blocks with them.
 *
 * A key never leaves this worker, which ends when the workspace is locked. The page asks in vault.js.
 */

import { disclosed, workingKeys } from "./keys.js";
import { openBlock } from "./sealedblock.js";
import { SealedNames } from "./sealednames.js";

let keys;
let names;

const ANSWERS = {
  async unlock({ envelope, passphrase, workspace }) {
    keys = await workingKeys(await disclosed(envelope, passphrase, workspace));
    names = await SealedNames.of(keys.names);
    return null;
  },

  /** Their bytes, or null for what doesn't open. */
  openNames: ({ sealed }) => Promise.all(sealed.map((name) => names.openName(name).catch(() => null))),

  openTarget: ({ sealed }) => names.openTarget(sealed).catch(() => null),

  sealName: ({ name }) => names.sealName(name),

  openBlock: ({ id, sealed }) => openBlock(keys, id, sealed),
};

self.addEventListener("message", async ({ data: { number, what, ...question } }) => {
  try {
    const answer = await ANSWERS[what](question);
    const moved = what === "openBlock" ? [answer.buffer] : [];
    self.postMessage({ number, answer }, moved);
  } catch (error) {
    self.postMessage({ number, error: error.message });
  }
});
