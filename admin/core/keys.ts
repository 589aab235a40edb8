/** Keyboard shortcuts of a page. `?` shows those that work now. */

import { useEffect } from "preact/hooks";
import { useLatest } from "./resource.ts";
import { createStore } from "./store.ts";

export interface Shortcut {
  /** `j`, `Shift+R`, `Mod+Enter` (Ctrl, on a Mac Command), `Escape`, or a sequence such as `g i`. */
  keys: string;
  label: string;
  run(event: KeyboardEvent): void;
  /** Off while false. */
  when?: boolean;
  /** Also while somebody types. One with Mod always is. */
  typing?: boolean;
}

/** Those of all pages that are shown, in the order of their appearance. */
export const shortcuts = createStore<readonly Shortcut[]>([]);
export const helpOpen = createStore(false);

const isMac = typeof navigator !== "undefined" && /Mac|iP/.test(navigator.platform);

/** Milliseconds between the keys of a sequence. */
const SEQUENCE = 1000;
let begun = "";
let begunAt = 0;

/** A pressed key in our own words. Shift counts where it does not already make another character. */
export function nameOf(event: Pick<KeyboardEvent, "key" | "shiftKey" | "ctrlKey" | "metaKey" | "altKey">): string {
  const letter = event.key.length === 1;
  const key = letter && /\p{L}/u.test(event.key) ? event.key.toLowerCase() : event.key === " " ? "Space" : event.key;
  const shift = event.shiftKey && (!letter || /\p{L}/u.test(event.key));
  const mod = isMac ? event.metaKey : event.ctrlKey;
  return `${mod ? "Mod+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${key}`;
}

const normal = (keys: string): string => keys.replace(/[A-Z]$/, (letter) => (/\+[A-Z]$/.test(keys) ? letter.toLowerCase() : letter));

function isTyping(target: EventTarget | null): boolean {
  const field = target instanceof Element && target.closest("input, textarea, select, [contenteditable]");
  return !!field && !(field instanceof HTMLInputElement && /^(checkbox|radio|button|range|color)$/.test(field.type));
}

/** What a key does: the newest shortcut for it, alone or as the end of a sequence. */
export function find(pressed: string, before: string, typing: boolean, among: readonly Shortcut[]): Shortcut | undefined {
  const works = (each: Shortcut) => each.when !== false && (!typing || each.typing || each.keys.includes("Mod+"));
  const open = [...among].reverse().filter(works);
  return (
    (before ? open.find((each) => normal(each.keys) === `${before} ${pressed}`) : undefined) ??
    open.find((each) => normal(each.keys) === pressed)
  );
}

function pressed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || /^(Shift|Control|Alt|Meta)$/.test(event.key)) return;
  // A dialog has keys of its own.
  if (document.querySelector("dialog:modal")) return;
  const name = nameOf(event);
  const typing = isTyping(event.target);
  const before = event.timeStamp - begunAt < SEQUENCE ? begun : "";
  const found = find(name, before, typing, shortcuts.get());
  begun = found || typing ? "" : name;
  begunAt = event.timeStamp;
  if (!found) return;
  event.preventDefault();
  found.run(event);
}

let listening = false;

/** These work while the component is there. */
export function useKeys(list: Shortcut[]): void {
  const latest = useLatest(list);
  const shape = list.map((each) => `${each.keys}\n${each.label}\n${each.when !== false}\n${!!each.typing}`).join("\n\n");
  useEffect(() => {
    if (!listening) addEventListener("keydown", pressed);
    listening = true;
    const mine = list.map((each, i) => ({ ...each, run: (event: KeyboardEvent) => latest.current[i]?.run(event) }));
    shortcuts.set((old) => [...old, ...mine]);
    return () => shortcuts.set((old) => old.filter((each) => !mine.includes(each as (typeof mine)[number])));
  }, [shape]);
}

/** For people: ⌘ and ⇧ on a Mac. */
export function shown(keys: string): string[] {
  const names: Record<string, string> = { Mod: isMac ? "⌘" : "Ctrl", Shift: isMac ? "⇧" : "Shift", Escape: "Esc", ArrowUp: "↑", ArrowDown: "↓" };
  return keys.split(/[+ ]/).map((key) => names[key] ?? (key.length === 1 ? key.toUpperCase() : key));
}
