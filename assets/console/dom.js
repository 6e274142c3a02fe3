// Making nodes. Nothing here, or anywhere in the console, reads text as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** A node: `on…` properties listen, `class` and the rest are attributes. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return node;
}

/** Makes `nodes` the children of `parent`; those that are there stay as they are. */
export function setChildren(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  let place = parent.firstChild;
  for (const node of nodes) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
}

/** Sets the text of a node. What only grew is appended, so that a selection stays. */
export function setText(node, text) {
  const leaf = node.firstChild ?? node.appendChild(document.createTextNode(""));
  if (leaf.data === text) return;
  if (text.startsWith(leaf.data)) leaf.appendData(text.slice(leaf.data.length));
  else leaf.data = text;
}

const ICONS = {
  copy: "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
  check: "M3 8.5l3.5 3.5L13 4.5",
  log: "M3 4h10M3 8h10M3 12h6",
  close: "M4 4l8 8M12 4l-8 8",
  stop: "M4.5 4.5h7v7h-7z",
  plus: "M8 3v10M3 8h10",
  refresh: "M13 8a5 5 0 1 1-1.5-3.5M13 2.5v3h-3",
  send: "M8 13V3M3.5 7.5L8 3l4.5 4.5",
  down: "M8 3v10M3.5 8.5L8 13l4.5-4.5",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  sound: "M3 6.5v3h2.5L9 12.5v-9L5.5 6.5zM11 6a3 3 0 0 1 0 4",
  film: "M2.5 4h8v8h-8zM10.5 7l3-2v6l-3-2",
  image: "M2.5 3.5h11v9h-11zM2.5 10.5l3-3 3 3 2-2 3 3",
  theme: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  tool: "M10.5 2.5a3 3 0 0 0-2.6 4.4L3 11.8 4.2 13l4.9-4.9a3 3 0 0 0 4.2-3.4l-1.9 1.9-1.6-.4-.4-1.6 1.9-1.9a3 3 0 0 0-.8-.2z",
  open: "M6 3.5H3.5v9h9V10M9 3h4v4M13 3L7.5 8.5",
};

/** A small drawing; it says nothing to who doesn't see it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that is an icon; its label is for pointers and screen readers. */
export function iconButton(name, label, onclick, properties = {}) {
  const button = h("button", { type: "button", class: "icon-button", title: label, "aria-label": label, onclick, ...properties });
  button.append(icon(name));
  return button;
}

/** A button that puts `text()` into the clipboard, and says so. */
export function copyButton(label, text) {
  const button = iconButton("copy", label, async () => {
    if (!(await copy(text()))) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

// Pages that come over plain HTTP from another machine have no clipboard API.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = h("textarea", { class: "visually-hidden", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
