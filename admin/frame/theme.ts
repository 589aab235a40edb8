/** Light, dark, or as the machine says. Kept in this browser. */

import { createStore } from "../core/store.ts";

export type Theme = "auto" | "light" | "dark";
export const THEMES: readonly Theme[] = ["auto", "light", "dark"];

const KEY = "frontdesk.theme";

export const theme = createStore<Theme>("auto");

/** Storage may be forbidden; then the choice lasts as long as the page. */
function stored(): Theme {
  try {
    const found = localStorage.getItem(KEY);
    return THEMES.find((each) => each === found) ?? "auto";
  } catch {
    return "auto";
  }
}

function show(): void {
  const chosen = theme.get();
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

/** Before anything is drawn. Another tab's choice is this one's too. */
export function startTheme(): void {
  theme.set(stored());
  show();
  theme.subscribe(show);
  addEventListener("storage", (event) => {
    if (event.key === KEY) theme.set(stored());
  });
}

export function chooseTheme(chosen: Theme): void {
  theme.set(chosen);
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // Then it lasts as long as the page.
  }
}
