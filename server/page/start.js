/** What this document is: the page of who has an account, or, at a link's address, that of whoever has the link. */

const LINK = /^\/v1\/links\/([^/]+)$/;

const [, secret] = LINK.exec(location.pathname) ?? [];
if (secret === undefined) {
  const { App } = await import("./app.js");
  new App().run();
} else {
  const { LinkPage } = await import("./linkpage.js");
  new LinkPage(secret).run();
}
