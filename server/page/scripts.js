/** The addresses of scripts that work beside the page: the one policy of Trusted Types, which knows no others. */

const KNOWN = new Set(["/worker.js", "/opener.js"]);

const policy = window.trustedTypes?.createPolicy("worker", {
  createScriptURL(address) {
    if (!KNOWN.has(address)) throw new TypeError(`${address} is no script of this page`);
    return address;
  },
});

/** What takes an address of a script takes this. */
export function scriptAddress(address) {
  return policy?.createScriptURL(address) ?? address;
}
