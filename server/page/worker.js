/**
 * The service worker: gives the token to requests for content that the browser makes by itself.
 *
 * An <img>, <audio> or <video> and a download send no header that a page chose. Their requests pass here, and go on
 * with the Authorization header and what they say about ranges, so that media can be sought in without a token in any
 * address.
 *
 * Invariants:
 * - it keeps nothing: for each request it asks the page that made it, and only a page that is logged in answers;
 * - a request that would open a document gets the token for a download alone, and only where a page says that it is
 *   about to begin just that download: no file is ever opened as a document of this site with its owner's rights;
 * - every other request passes by untouched.
 */

const CONTENT = /^\/v1\/workspaces\/[0-9a-f]{32}\/(?:files|archive)\//;
const MEDIA = new Set(["image", "audio", "video"]);
const PASSED_ON = ["range", "if-range", "if-none-match", "accept"];
const ANSWER_MS = 2000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin || !CONTENT.test(url.pathname)) return;
  if (request.mode === "navigate") event.respondWith(download(request.url));
  else if (MEDIA.has(request.destination)) event.respondWith(media(request, event.clientId));
});

async function media(request, clientId) {
  const client = await self.clients.get(clientId);
  const token = client ? await asked(client, { token: request.url }) : null;
  return fetch(request.url, { headers: headers(request, token), redirect: "error", signal: request.signal });
}

async function download(url) {
  for (const client of await self.clients.matchAll({ type: "window" })) {
    const token = await asked(client, { download: url });
    if (token === null) continue;
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` }, redirect: "error" }).catch(
      () => null,
    );
    const isDownload = response?.ok && response.headers.get("content-disposition")?.startsWith("attachment");
    if (isDownload) return response;
    client.postMessage({
      failed: url,
      status: response?.status ?? 0,
      text: response && !response.ok ? await response.text() : "",
    });
    return new Response(null, { status: 204 });
  }
  return new Response("Open this from the page.", { status: 401, headers: { "content-type": "text/plain" } });
}

function headers(request, token) {
  const all = new Headers();
  for (const name of PASSED_ON) if (request.headers.has(name)) all.set(name, request.headers.get(name));
  if (token !== null) all.set("authorization", `Bearer ${token}`);
  return all;
}

function asked(client, question) {
  const { promise, resolve } = later();
  const { port1, port2 } = new MessageChannel();
  const timer = setTimeout(resolve, ANSWER_MS, null);
  port1.onmessage = ({ data }) => {
    clearTimeout(timer);
    port1.close();
    resolve(data);
  };
  client.postMessage(question, [port2]);
  return promise;
}

function later() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
