/** @jsxRuntime classic */
/** @jsx h */
import { h } from "preact";
import type { CLOSE } from "../core/protocol.gen.ts";
import { composer } from "./composer.tsx";
import { conversation } from "./conversation.tsx";
import { button, icon, press } from "./controls.tsx";
import { avatar, webUrl } from "./message.tsx";
import { actions, ask, asking, inline, mobile, open, session, settings, snap, t } from "./store.ts";

// Constants of their own, because a minifier puts those in place and keeps an object whole.
const BAD_KEY: typeof CLOSE.bad_key = 4401;
const ORIGIN: typeof CLOSE.origin = 4403;
const REPLACED: typeof CLOSE.replaced = 4409;
const ERASED: typeof CLOSE.erased = 4410;
const VERSION: typeof CLOSE.version = 4426;

function status(): string {
  const { link, owner } = snap;
  if (link === "waiting") return t.again;
  if (owner === "queued") return t.queued;
  return (owner === "human" ? settings.title : settings.subtitle) ?? t.status;
}

function header() {
  const operator = snap.owner === "human" ? snap.operator : null;
  const name = operator?.name ?? settings.title;
  return (
    <header>
      {avatar(name, operator ? webUrl(operator.avatar_url) : settings.logo_url)}
      <div class="who">
        <h2>{name}</h2>
        <p class={"status " + snap.link} data-fd="status">
          {status()}
        </p>
      </div>
      {!!snap.messages.length && press("fresh", t.fresh, "tool", "reset", () => ask(true))}
      {!inline && press(mobile ? "close" : "fold", t.close, "tool", "close", () => actions.show(false))}
    </header>
  );
}

/** Shown late, so that a short loss of the connection is not seen. */
function banner() {
  const offline = !navigator.onLine;
  const lost = offline || snap.link === "waiting";
  const { error } = snap;
  if (!lost && error === null) return null;
  return (
    <p class={error || !lost ? "banner" : "banner late"} role="status" data-fd={offline ? "offline" : lost ? "reconnecting" : "error"} dir="auto">
      {offline ? t.offline : error || (lost ? t.lost : t.wrong)}
    </p>
  );
}

/** Stands where one would write: why not, and what can be done instead. */
function over(text: string, label?: string, act?: () => void) {
  return (
    <div class="box" role="status" data-fd="over">
      <p>{text}</p>
      {label && button(label, "button main", "over-action", act)}
    </div>
  );
}

const focus = (element: HTMLElement | null) => element?.focus();

function question() {
  return (
    <div class="box" role="alertdialog" aria-label={t.anew} data-fd="ask">
      <p>{t.anew}</p>
      <div class="row">
        {button(t.cancel, "button", "reset-cancel", () => ask(false), { ref: focus })}
        {button(t.fresh, "button main", "reset-confirm", actions.reset)}
      </div>
    </div>
  );
}

/** Where to write, or why that is not possible. */
function foot() {
  const { ended, link, owner } = snap;
  const { start } = session;
  if (asking) return question();
  if (owner === "closed") return over(t.closed, t.fresh, actions.reset);
  if (link !== "ended") return composer();
  if (ended === ERASED) return over(t.gone, t.fresh, start);
  if (ended === REPLACED) return over(t.elsewhere, t.here, start);
  if (ended === VERSION) return over(t.outdated, t.reload, () => location.reload());
  if (ended === BAD_KEY || ended === ORIGIN) return over(t.unavailable);
  return over(t.wrong, t.retry, start);
}

/** Keeps Tab inside where the panel covers the page. */
function trap(event: KeyboardEvent) {
  const panel = event.currentTarget as HTMLElement;
  const all = [...panel.querySelectorAll<HTMLElement>("button:not(:disabled),textarea,a[href],[tabindex='0']")];
  if (!event.shiftKey) all.reverse();
  const active = (panel.getRootNode() as ShadowRoot).activeElement;
  if (active !== all[0] && active !== panel) return;
  event.preventDefault();
  all.pop()?.focus();
}

function onKey(event: KeyboardEvent) {
  if (event.key === "Escape") asking ? ask(false) : actions.show(false);
  if (event.key === "Tab" && mobile && !inline) trap(event);
}

export function panel() {
  return (
    <section
      class="panel"
      data-fd="panel"
      role={inline ? "region" : "dialog"}
      aria-modal={mobile && !inline}
      aria-label={settings.title}
      tabIndex={-1}
      inert={!open}
      onKeyDown={onKey}
    >
      {header()}
      {banner()}
      {conversation()}
      {foot()}
      {settings.branding && <small class="brand">Frontdesk</small>}
    </section>
  );
}

export function launcher() {
  const { unread } = snap;
  const count = !open && unread > 0 && Math.min(unread, 99);
  const label = open ? t.close : (settings.launcher_text ?? t.open) + (count ? `. ${t.newer}: ${count}` : "");
  return (
    <button
      type="button"
      class="launcher"
      data-fd="launcher"
      aria-label={label}
      aria-expanded={open}
      onClick={() => actions.show(!open)}
    >
      {icon("chat", 28)}
      {icon("fold", 28)}
      {!open && settings.launcher_text && <b>{settings.launcher_text}</b>}
      {count && (
        <i class="badge" data-fd="badge">
          {count}
        </i>
      )}
    </button>
  );
}
