/** Keeps the end of the conversation in view while the reader is there, and the place while they are elsewhere. */

import { refit } from "./composer.tsx";
import { schedule, session, setBehind, snap } from "./store.ts";

/** So near the end (px) the reader follows what comes. */
const NEAR = 48;

let list: HTMLElement | null = null;
let following = true;
let count = 0;
let first: string | undefined;
let height = 0;
let sent: string | undefined;

export function toEnd(): void {
  following = true;
  setBehind(false);
  list?.scrollTo(0, 1e9); // as far as it goes
}

// A phone's keyboard changes the height, and must not hide the end.
const resized = new ResizeObserver(() => {
  if (following) toEnd();
  refit();
  schedule();
});

export function listRef(element: HTMLElement | null): void {
  list = element;
  resized.disconnect();
  if (element) resized.observe(element);
}

export function onScroll(): void {
  if (!list) return;
  const { scrollHeight, scrollTop, clientHeight } = list;
  following = scrollHeight - scrollTop - clientHeight < NEAR;
  if (following) setBehind(false);
  else if (scrollTop < NEAR) {
    session.older().catch((error: unknown) => console.warn("[frontdesk] no history", error));
  }
}

/** After each drawing. */
export function keepPlace(): void {
  if (!list) return;
  const { messages, outbox, live } = snap;
  const now = messages.length + (live ? 1 : 0);
  const older = first && messages[0]?.id !== first;
  const mine = outbox[outbox.length - 1]?.cid;
  if (following || (mine && mine !== sent)) toEnd();
  else if (older) list.scrollTop += list.scrollHeight - height;
  else if (now > count) setBehind(true);
  sent = mine;
  first = messages[0]?.id;
  count = now;
  height = list.scrollHeight;
}
