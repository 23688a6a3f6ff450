/** The form that a person logs in with. */

import { h, icon } from "./dom.js";
import { browserName } from "./login.js";

/**
 * Asks for name and password, keeps what the server answers in `login`, then calls `done`. `says` stands there first.
 */
export function loginForm(api, login, says, done) {
  const user = h("input", {
    id: "user",
    name: "username",
    autocomplete: "username",
    required: true,
    spellcheck: "false",
    autocapitalize: "off",
  });
  const password = h("input", {
    id: "password",
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
  });
  const stays = h("input", { id: "stays", type: "checkbox" });
  const wrong = h("p", { class: "wrong", role: "alert" }, says);
  const submit = h("button", { class: "main" }, "Log in");
  const form = h(
    "form",
    { onsubmit: (event) => tried(event) },
    h("div", { class: "brand" }, icon("drive"), h("h1", {}, "Samedrive")),
    h("label", { for: "user" }, "User name"),
    user,
    h("label", { for: "password" }, "Password"),
    password,
    h("label", { class: "check", for: "stays" }, stays, "Stay logged in on this device"),
    wrong,
    submit,
  );

  async function tried(event) {
    event.preventDefault();
    submit.disabled = true;
    wrong.textContent = "";
    try {
      const device = browserName(stays.checked);
      const answer = await api.ask("POST", "/login", { body: { user: user.value, password: password.value, device } });
      login.keep(user.value, answer, stays.checked);
      done();
    } catch (error) {
      wrong.textContent = error.message;
      password.select();
      password.focus();
    } finally {
      submit.disabled = false;
    }
  }

  return h("main", { id: "main", class: "login" }, form);
}
