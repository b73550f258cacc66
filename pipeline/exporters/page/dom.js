// Elements from plain values. Text only ever becomes a text node: what a sensor is called is never markup.

export const byId = (id) => document.getElementById(id);

// el("p", {class: "quiet", hidden: true}, "text", child): attributes by name, children appended as text or nodes.
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Names in any script stay within themselves: a right-to-left one does not turn its neighbours around.
export const name = (text) => el("bdi", {}, text);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
