/** One widget on one page: config, session and view wired together, and what the host page can tell it. */

import { render } from "preact";
import { browserFetch, isRefusal, read, type HttpError } from "../core/http.ts";
import type { Config } from "../core/protocol.gen.ts";
import { createSession } from "../core/session.ts";
import { backoff } from "../core/socket.ts";
import { openShelf } from "../core/storage.ts";
import { drawApp } from "../view/app.tsx";
import { speech } from "../view/i18n/index.ts";
import * as store from "../view/store.ts";
import { CSS } from "../view/styles/index.ts";
import { warn, type Api } from "./api.ts";
import type { Attributes } from "./attributes.ts";
import { createHost } from "./host.ts";
import { fitKeyboard, lockScroll, openerOf, watchPage } from "./page.ts";
import { resolve, wantedLocale, type Update } from "./settings.ts";

/** Phones upright, and on their side. */
const PHONE = "(max-width:480px),(max-height:420px)";
const TRIES = 6;

/** With the words of the locale, if the server has them. Busy or broken servers are asked again; a refusal is not. */
async function loadConfig({ api, key }: Attributes, locale: string): Promise<Config> {
  for (let n = 1; ; n++) {
    try {
      const url = `${api}/api/v1/config?key=${encodeURIComponent(key)}&locale=${locale}`;
      return await read<Config>(browserFetch, url);
    } catch (error) {
      if (n === TRIES || isRefusal(error as HttpError)) throw error;
      await new Promise((done) => setTimeout(done, backoff(n)));
    }
  }
}

/** Throws an HttpError where it cannot load its config. */
export async function startWidget(tag: Attributes, api: Api): Promise<void> {
  const { key, inline } = tag;
  let code: Update = {};
  const wanted = () => wantedLocale(code, tag.update);
  const loading = loadConfig(tag, wanted()); // what needs no config is done while it comes
  const shelf = openShelf(key, () => localStorage);
  const tab = openShelf(key + ":open", () => sessionStorage);
  const phone = matchMedia(PHONE);
  const night = matchMedia("(prefers-color-scheme:dark)");
  const life = new AbortController();
  const { signal } = life;
  const { root, element } = createHost(CSS, tag.nonce);

  const fit = () => fitKeyboard(element);

  let opener: HTMLElement | null = null;
  let unread: number | undefined;

  const session = createSession({
    key,
    api: tag.api,
    shelf,
    locale: () => store.settings.locale,
    page: () => location.origin + location.pathname, // a query may hold what is not ours to read
    emit: api.emit,
    heard: store.announce,
    changed(snap) {
      if (unread !== undefined && snap.unread !== unread) api.emit("unread", { count: snap.unread });
      ({ unread } = snap);
      store.follow(snap);
    },
  });

  const settle = () => store.setSettings(resolve(code, tag.update, config, tag.api), speech(config.locale, config.strings));

  async function update(change: unknown) {
    const before = wanted();
    code = { ...code, ...(change as Update | undefined) };
    settle();
    const locale = wanted();
    if (locale === before) return;
    const other = await loadConfig(tag, locale);
    if (locale !== wanted()) return; // it has changed again meanwhile
    config = other;
    settle();
  }

  function draw() {
    const { theme } = store.settings;
    store.setDevice(phone.matches, theme === "dark" || (theme === "auto" && night.matches));
    lockScroll(store.open && phone.matches && !inline);
    drawApp(root);
  }

  function show(on: boolean) {
    if (inline || on === store.open) return;
    const outside = document.activeElement;
    store.setOpen(on);
    session.looking(on);
    if (on) session.start();
    // A phone's panel covers the page, so it never opens by itself there.
    tab.write({ awaiting: on && !phone.matches });
    fit();
    store.draw();
    if (on) {
      opener = outside instanceof HTMLElement && outside.matches("[data-frontdesk-open]") ? outside : null;
      // On a phone the input would bring up the keyboard before anything is read.
      root.querySelector<HTMLElement>(phone.matches ? ".panel" : "textarea")?.focus({ preventScroll: true });
    } else {
      (opener ?? root.querySelector<HTMLElement>(".launcher"))?.focus({ preventScroll: true });
    }
    api.emit(on ? "open" : "close");
  }

  function send(text: unknown) {
    const trimmed = String(text ?? "").trim();
    if (!trimmed || trimmed.length > store.settings.limit) return warn(`"send" wants 1 to ${store.settings.limit} characters`);
    session.send(trimmed);
  }

  function reset() {
    store.ask(false);
    session.reset();
    if (store.open) session.start();
  }

  function destroy() {
    life.abort();
    session.close();
    store.end();
    lockScroll(false);
    render(null, root);
    element.remove();
    delete window.frontdesk;
  }

  Object.assign(store.actions, { show, send, reset });
  let config = await loading;
  if (!document.body) await new Promise((done) => addEventListener("DOMContentLoaded", done, { once: true }));
  const parent = inline ? document.querySelector(tag.target!) : document.body;
  if (!parent) return warn("data-target: not found");
  parent.append(element);
  settle();
  store.begin(session, inline, draw);
  session.looking(inline);

  watchPage(session.nudge, store.schedule, signal);
  for (const media of [phone, night]) media.addEventListener("change", store.schedule, { signal });
  for (const event of ["resize", "scroll"]) visualViewport!.addEventListener(event, fit, { signal });
  document.addEventListener(
    "click",
    (event) => {
      const found = openerOf(event);
      if (!found) return;
      event.preventDefault();
      found.focus();
      if (found.dataset.frontdeskOpen) store.write(found.dataset.frontdeskOpen);
      show(true);
    },
    { signal },
  );

  const { session: known, pending, awaiting } = shelf.read();
  if (pending.length || (known && (awaiting || inline))) session.start();
  // An inline chat that nobody touches costs no connection.
  if (inline) root.addEventListener("focusin", session.start);
  store.draw();

  api.emit("ready", { key });
  api.begin({
    open(options) {
      const message = (options as { message?: unknown } | undefined)?.message;
      if (typeof message === "string") store.write(message);
      show(true);
    },
    close: () => show(false),
    toggle: () => show(!store.open),
    send,
    identify(jwt) {
      if (typeof jwt !== "string") return warn('"identify" wants a JWT');
      session.identify(jwt);
    },
    update: (change) => void update(change).catch((error: unknown) => warn("no words", error)),
    reset,
    destroy,
  });
  if (tag.open || tab.read().awaiting) show(true);
}
