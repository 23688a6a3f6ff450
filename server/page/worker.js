/**
 * The service worker: gives the authority to requests for content that the browser makes by itself: a token, or the
 * password of a link.
 *
 * An <img>, <audio> or <video> and a download send no header that a page chose. Their requests pass here, and go on
 * with the Authorization header and what they say about ranges, so that media can be sought in without either in any
 * address.
 *
 * Invariants:
 * - it keeps nothing: for each request it asks the page that made it, which knows its authority;
 * - a request that would open a document gets it for a download alone, and only where a page says that it is
 *   about to begin just that download: no file is ever opened as a document of this site with its owner's rights. Where
 *   no page does, an address of a link is asked for as it is, and one that needs a password becomes the link's page;
 * - every other request passes by untouched.
 */

const CONTENT = /^\/v1\/(?:workspaces\/[0-9a-f]{32}|links\/[^/]+)\/(?:files|archive)\//;
const LINK = /^\/v1\/links\/[^/]+/;
const MEDIA = new Set(["image", "audio", "video"]);
const PASSED_ON = ["range", "if-range", "if-none-match", "accept"];
const ANSWER_MS = 2000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin || !CONTENT.test(url.pathname)) return;
  if (request.mode === "navigate") event.respondWith(download(request, url));
  else if (MEDIA.has(request.destination)) event.respondWith(media(request, event.clientId));
});

async function media(request, clientId) {
  const client = await self.clients.get(clientId);
  const answer = client ? await asked(client, { media: request.url }) : null;
  return fetch(request.url, { headers: headers(request, answer?.authority ?? null), redirect: "error", signal: request.signal });
}

async function download(request, { pathname }) {
  const { url } = request;
  for (const client of await self.clients.matchAll({ type: "window" })) {
    const answer = await asked(client, { download: url });
    if (answer === null) continue;
    const headers = answer.authority === null ? {} : { authorization: answer.authority };
    const response = await fetch(url, { headers, redirect: "error", credentials: "omit" }).catch(() => null);
    const isDownload = response?.ok && response.headers.get("content-disposition")?.startsWith("attachment");
    if (isDownload) return response;
    client.postMessage({
      failed: url,
      status: response?.status ?? 0,
      text: response && !response.ok ? await response.text() : "",
    });
    return new Response(null, { status: 204 });
  }
  const [link] = LINK.exec(pathname) ?? [];
  if (link !== undefined) {
    const response = await fetch(request);
    return response.status === 401 ? Response.redirect(link) : response;
  }
  return new Response("Open this from the page.", { status: 401, headers: { "content-type": "text/plain" } });
}

function headers(request, authority) {
  const all = new Headers();
  for (const name of PASSED_ON) if (request.headers.has(name)) all.set(name, request.headers.get(name));
  if (authority !== null) all.set("authorization", authority);
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
