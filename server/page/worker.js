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
 *
 * Addresses below "/opened/" are contents of end-to-end workspaces, which the server can't open: the page that made the
 * request opens them (serving.js) and hands them over part by part, when the browser wants more.
 */

const CONTENT = /^\/v1\/(?:workspaces\/[0-9a-f]{32}|links\/[^/]+)\/(?:files|archive)\//;
const LINK = /^\/v1\/links\/[^/]+/;
const OPENED = /^\/opened\/[0-9a-f]{32}\/files\//;
const MEDIA = new Set(["image", "audio", "video"]);
const PASSED_ON = ["range", "if-range", "if-none-match", "accept"];
const ANSWER_MS = 2000;
const OPENING_MS = 60_000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
// A page that hands contents over says so now and then: a worker that hears nothing is ended by the browser.
self.addEventListener("message", () => {});
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (OPENED.test(url.pathname)) {
    if (request.mode === "navigate") event.respondWith(openedDownload(request.url));
    else if (MEDIA.has(request.destination)) event.respondWith(openedMedia(request, event.clientId));
    return;
  }
  if (!CONTENT.test(url.pathname)) return;
  if (request.mode === "navigate") event.respondWith(download(request, url));
  else if (MEDIA.has(request.destination)) event.respondWith(media(request, event.clientId));
});

async function media(request, clientId) {
  const client = await self.clients.get(clientId);
  const answer = client ? await asked(client, { media: request.url }) : null;
  return fetch(request.url, {
    headers: headers(request, answer?.authority ?? null),
    redirect: "error",
    signal: request.signal,
  });
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

async function openedMedia(request, clientId) {
  const client = await self.clients.get(clientId);
  const range = request.headers.get("range");
  const found = client ? await begun(client, { opened: request.url, range, isDownload: false }) : null;
  return found ?? Response.error();
}

async function openedDownload(url) {
  for (const client of await self.clients.matchAll({ type: "window" })) {
    const response = await begun(client, { opened: url, range: null, isDownload: true });
    if (response !== null) return response;
  }
  return new Response("Open this from the page.", { status: 401, headers: { "content-type": "text/plain" } });
}

/** The answer of a page that opens a content, its body coming through the port; null where it answers nothing. */
async function begun(client, question) {
  const { port1: port, port2 } = new MessageChannel();
  const answer = await next(port, OPENING_MS, () => client.postMessage(question, [port2]));
  if (answer === null) return null;
  const { status, headers } = answer;
  if (status === 0) return question.isDownload ? new Response(null, { status: 204 }) : Response.error();
  const body = new ReadableStream(
    {
      async pull(controller) {
        const part = await next(port, OPENING_MS, () => port.postMessage("more"));
        if (part === null || part.failed) controller.error(new Error("the page could not open it"));
        else if (part.bytes === null) controller.close();
        else controller.enqueue(part.bytes);
      },
      cancel: () => port.postMessage("enough"),
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { status, headers });
}

async function asked(client, question) {
  const { port1, port2 } = new MessageChannel();
  const answer = await next(port1, ANSWER_MS, () => client.postMessage(question, [port2]));
  port1.close();
  return answer;
}

/** The next message that comes through a port after `ask`; null where none comes in time. */
function next(port, milliseconds, ask) {
  const { promise, resolve } = later();
  const timer = setTimeout(resolve, milliseconds, null);
  port.onmessage = ({ data }) => {
    clearTimeout(timer);
    resolve(data);
  };
  ask();
  return promise;
}

function later() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
