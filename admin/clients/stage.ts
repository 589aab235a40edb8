/**
 * The widget's own view in a frame, with a draft of its looks. The frame runs no script; what is clicked in it is
 * heard here. There is one at a time, as there is one widget on a page.
 */

import { render } from "preact";
import type { WidgetConfig } from "../core/api.gen.ts";
import { EMPTY, type Item } from "../../widget-src/core/reducer.ts";
import type { Config } from "../../widget-src/core/protocol.gen.ts";
import type { Session, Snap } from "../../widget-src/core/session.ts";
import { resolve } from "../../widget-src/embed/settings.ts";
import { drawApp } from "../../widget-src/view/app.tsx";
import { speech } from "../../widget-src/view/i18n/index.ts";
import * as view from "../../widget-src/view/store.ts";
import { CSS } from "../../widget-src/view/styles/index.ts";

export interface Draft {
  name: string;
  widget: WidgetConfig;
  /** What the widget speaks, and its words in it; without them it is English. */
  locale: string;
  strings: Record<string, string> | null;
  dark: boolean;
  phone: boolean;
  /** What an answer says. */
  sample: string;
}

export interface Stage {
  show(draft: Draft): void;
  end(): void;
}

/** Whom the view talks with. */
export interface Talk {
  session: Session;
  say(text: string): void;
  begin(): void;
  /** The view is there. */
  open?(): void;
  end?(): void;
}

/** Below that (px) an open panel does not fit beside its page. */
const NARROW = 420;
const LIMITS = { message_characters: 5000, frame_bytes: 65_536 };
/** A page as it may be: nothing but lines of text in the colours of day or night. */
const PAGE = `
  html { height: 100%; overflow: hidden; }
  body { margin: 0; min-height: 100%; background: #fff; }
  body.dark { background: #0f1115; }
  body::before { content: ""; display: block; margin: 40px; height: 240px; opacity: 0.5;
    background: repeating-linear-gradient(#dde1e7 0 12px, transparent 0 30px); }
  body.dark::before { background: repeating-linear-gradient(#2f353e 0 12px, transparent 0 30px); }
`;

/** A constructed sheet belongs to the document in whose window it was made. */
function sheet(page: Document, css: string): CSSStyleSheet {
  const made = new (page.defaultView as Window & typeof globalThis).CSSStyleSheet();
  made.replaceSync(css);
  return made;
}

/** A conversation that is nowhere but here: what is written gets the sample as its answer. */
function rehearsal(sample: () => string, changed: () => void): Talk {
  let messages: Item[] = [];
  let n = 0;
  const add = (role: Item["role"], text: string) => {
    n += 1;
    messages = [...messages, { id: `preview-${n}`, role, text, created_at: new Date().toISOString() }];
  };
  const snap = (): Snap => ({ ...EMPTY, messages, loaded: true, looking: true, link: "online", ended: 0, http: false });
  const nothing = () => undefined;
  const session: Session = {
    snap,
    known: () => false,
    start: nothing,
    send: nothing,
    retry: nothing,
    remove: nothing,
    stopTurn: nothing,
    confirm: nothing,
    rate(id, rating) {
      messages = messages.map((each) => (each.id === id ? { ...each, rating } : each));
      changed();
    },
    typing: nothing,
    identify: nothing,
    older: () => Promise.resolve(),
    looking: nothing,
    reset: nothing,
    nudge: nothing,
    close: nothing,
  };
  return {
    session,
    say(text) {
      add("user", text);
      add("assistant", sample());
      changed();
    },
    begin() {
      messages = [];
      changed();
    },
  };
}

/** Without `talk` nobody answers but the draft's sample. */
export function openStage(page: Document, first: Draft, talk?: (changed: () => void) => Talk): Stage {
  let draft = first;
  const element = page.createElement("frontdesk-widget");
  const root = element.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [sheet(page, CSS)];
  page.adoptedStyleSheets = [sheet(page, PAGE)];
  page.body.replaceChildren(element);

  const { session, say, begin, open, end } = talk ? talk(view.schedule) : rehearsal(() => draft.sample, view.schedule);
  function draw(): void {
    const { theme } = view.settings;
    const dark = theme === "dark" || (theme === "auto" && draft.dark);
    view.setDevice(draft.phone || page.documentElement.clientWidth < NARROW, dark);
    page.body.classList.toggle("dark", draft.dark);
    drawApp(root);
  }
  function show(next: Draft): void {
    draft = next;
    const { name, locale, widget, strings } = next;
    const config: Config = { name, locale, widget, strings, limits: LIMITS };
    view.setSettings(resolve({}, {}, config, location.origin), speech(locale, strings));
  }
  Object.assign(view.actions, {
    show(open: boolean) {
      view.setOpen(open);
      view.schedule();
    },
    send(text: string) {
      if (text.trim()) say(text.trim());
    },
    reset() {
      view.ask(false);
      begin();
    },
  });
  view.begin(session, false, draw);
  view.setOpen(true);
  show(first);
  view.draw();
  open?.();
  return {
    show,
    end() {
      end?.();
      view.end();
      render(null, root);
      element.remove();
    },
  };
}
