// Source code, with what it is and a button that copies it.

import { copyButton, h, setText } from "./dom.js";

/** A figure of code. */
export function codeBlock(text, { language, filename } = {}) {
  const code = h("code", { tabindex: 0 });
  setText(code, text);
  const title = [filename, language].filter(Boolean).join(" · ");
  const copy = copyButton("Copy the code", () => code.textContent);
  return h("figure", { class: "code" }, h("figcaption", {}, h("span", {}, title || "code"), copy), h("pre", {}, code));
}

/** Shows another text in a figure of code. */
export const setCode = (figure, text) => setText(figure.querySelector("code"), text);
