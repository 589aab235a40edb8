/** What the frame shows beside the page: the network, the live link, numbers at the navigation, the window's title. */

import { useEffect } from "preact/hooks";
import { surroundings } from "./api.ts";
import { createStore } from "./store.ts";

export type LinkState = "up" | "connecting" | "down";

/** `lost` since a request got no answer, until one does. */
export const network = createStore<"up" | "lost">("up");
/** Of the socket that brings what is live; null until it was begun. */
export const link = createStore<LinkState | null>(null);
/** Numbers at the navigation's entries, by their path. */
export const badges = createStore<Readonly<Record<string, number>>>({});

export const setLink = (state: LinkState | null): void => link.set(state);

export function setBadge(path: string, n: number): void {
  badges.set((old) => (old[path] === n || (!n && !old[path]) ? old : { ...old, [path]: n }));
}

const NAME = "Frontdesk";
let title = "";

/** The window's title says how much waits, on whatever page one is. */
function tellTitle(): void {
  const waiting = Object.values(badges.get()).reduce((sum, n) => sum + n, 0);
  document.title = `${waiting ? `(${waiting}) ` : ""}${title ? `${title} · ` : ""}${NAME}`;
}

badges.subscribe(tellTitle);

export function useTitle(text: string): void {
  useEffect(() => {
    title = text;
    tellTitle();
  }, [text]);
}

const returns = new Set<() => void>();

/** Calls it when the network is back, or somebody has signed in again: what failed meanwhile may be asked anew. */
export function onReturn(listener: () => void): () => void {
  returns.add(listener);
  return () => returns.delete(listener);
}

export function tellReturn(): void {
  for (const listener of [...returns]) listener();
}

/** Milliseconds between two looks while nothing answers. */
const LOOK = 3000;
let looking: ReturnType<typeof setTimeout> | undefined;

function tell(reached: boolean): void {
  const was = network.get();
  network.set(reached ? "up" : "lost");
  clearTimeout(looking);
  if (!reached) looking = setTimeout(look, LOOK);
  else if (was === "lost") tellReturn();
}

async function look(): Promise<void> {
  try {
    await surroundings.fetch("/healthz", { method: "GET", cache: "no-store" });
    tell(true);
  } catch {
    looking = setTimeout(look, LOOK); // still no network: that is what is shown
  }
}

/** From now on requests say whether the server is reached, and a lost one is looked for. */
export function watchNetwork(): void {
  surroundings.reached = (yes) => {
    // An answer that was on its way when the network went says nothing of now: the next look does.
    if (!yes || network.get() === "up" || navigator.onLine) tell(yes);
  };
  addEventListener("offline", () => surroundings.reached(false));
  addEventListener("online", () => {
    clearTimeout(looking);
    void look();
  });
}
