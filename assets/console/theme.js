// Light, dark, or as the system has it.

import { icon } from "./dom.js";

const THEMES = ["system", "light", "dark"];
const KEY = "throughline.theme";

// Storage may be switched off; the choice then lasts as long as the page.
function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function store(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    return;
  }
}

/** Makes a button go through the themes. */
export function themeButton(button) {
  let theme = THEMES.includes(stored()) ? stored() : "system";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.title = `Theme: ${theme}`;
    button.setAttribute("aria-label", `Theme: ${theme}. Change`);
  };
  button.append(icon("theme"));
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    store(theme);
    show();
  });
  show();
}
