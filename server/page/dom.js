/**
 * Making elements. Text becomes text nodes and never markup: a file's name can't become an element, whatever it holds.
 */

/**
 * An element. Properties that begin with "on" are listeners, true and false are present and absent attributes, the rest
 * are attributes; children are nodes and texts, and what is null or false is left out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of a drawing. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A picture from the front page's symbols, without a meaning of its own. */
export function icon(name) {
  return s("svg", { class: `icon ${name}`, "aria-hidden": "true" }, s("use", { href: `#${name}` }));
}

/** A button with a picture; `label` is shown beside it. */
export function button(label, picture, onclick, properties = {}) {
  return h("button", { type: "button", onclick, ...properties }, picture && icon(picture), h("span", {}, label));
}

/** A button that shows its picture alone; its label is for tooltips and screen readers. */
export function pictureButton(label, picture, onclick, properties = {}) {
  const shown = { type: "button", class: "bare", title: label, "aria-label": label };
  return h("button", { ...shown, onclick, ...properties }, icon(picture));
}

/** A time for people and for machines. */
export function timeElement(written, machine) {
  return h("time", { datetime: machine, title: new Date(machine).toLocaleString() }, written);
}
