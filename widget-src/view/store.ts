/**
 * What the view shows besides the conversation. There is one widget on a page, so these are variables of the module:
 * a minifier shortens those, and never a property.
 */

import type { Session, Snap } from "../core/session.ts";
import type { Settings } from "../embed/settings.ts";
import type { Strings } from "./i18n/en.ts";
import type { Speech } from "./i18n/index.ts";

export let session: Session;
export let settings: Settings;
export let words: Speech;
export let t: Strings;
/** Goes up when something changes that every message depends on. */
export let edition = 0;
export let snap: Snap;
export let inline = false;
export let open = false;
/** The panel has been open: until then it is not built. */
export let used = false;
export let mobile = false;
export let dark = false;
/** The text not yet sent. */
export let draft = "";
/** Asks whether to begin anew. */
export let asking = false;
/** New messages stand below what the reader sees. */
export let behind = false;
/** What a screen reader is to say next. */
export let said = "";
/** Id of the message just copied. */
export let copied: string | undefined;

/** Text that has come is shown within this time (ms), sooner than anybody reads. */
const PACE = 75;

/** How long "copied" shows (ms). */
const SHOWN = 2_000;

/** The names that are there, for a `class`. */
export function classes(...names: (string | false | undefined)[]): string {
  return names.filter(Boolean).join(" ");
}

let drawing: () => void = () => undefined;
let frame = 0;
let pace: ReturnType<typeof setTimeout> | 0 = 0;
let clock: ReturnType<typeof setTimeout> | undefined;
let ticking = false;

/** Many changes, one drawing. */
export function schedule(): void {
  frame ||= requestAnimationFrame(draw);
}

/** The same for a change of the conversation. An answer that grows waits: drawing is what it costs the page. */
export function follow({ live }: Snap): void {
  if (live?.text && snap.live?.text) pace ||= setTimeout(draw, PACE);
  else schedule();
}

export function draw(): void {
  cancelAnimationFrame(frame);
  clearTimeout(pace);
  frame = pace = 0;
  snap = session.snap();
  clearTimeout(clock);
  ticking = false;
  drawing();
  if (ticking) clock = setTimeout(schedule, 1000);
}

/** Whether that time (ms since 1970) is still to come. While something waits for one, each second is drawn. */
export function isAhead(at: number): boolean {
  const ahead = at > Date.now();
  ticking ||= ahead;
  return ahead;
}

export function begin(owned: Session, isInline: boolean, onDraw: () => void): void {
  session = owned;
  inline = open = used = isInline;
  drawing = onDraw;
}

/** Nothing is drawn any more. */
export function end(): void {
  drawing = () => undefined;
}

export function setSettings(next: Settings, nextWords: Speech): void {
  settings = next;
  words = nextWords;
  t = words.t;
  edition++;
  schedule();
}

export function setDevice(isMobile: boolean, isDark: boolean): void {
  mobile = isMobile;
  dark = isDark;
}

export function setOpen(on: boolean): void {
  open = on;
  used ||= on;
}

export function write(text: string): void {
  draft = text;
  schedule();
}

export function ask(on: boolean): void {
  asking = on;
  schedule();
}

export function setBehind(on: boolean): void {
  if (on === behind) return;
  behind = on;
  schedule();
}

export function announce(text: string): void {
  said = text.replace(/[*_`#>|]+/g, "");
  schedule();
}

export function setCopied(id: string): void {
  copied = id;
  announce(t.copied);
  setTimeout(() => {
    copied = undefined;
    said = ""; // the same word again would not be read again
    schedule();
  }, SHOWN);
}

/** What the panel can ask of the widget around it. */
export const actions = {
  show: (_open: boolean): void => undefined,
  send: (_text: string): void => undefined,
  reset: (): void => undefined,
};
