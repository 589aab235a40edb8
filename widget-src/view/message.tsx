/** @jsxRuntime classic */
/** @jsx h */
import { h, type VNode } from "preact";
import type { Draft, Item, Step } from "../core/reducer.ts";
import { Markdown } from "../markdown/markdown.tsx";
import { button, icon, press } from "./controls.tsx";
import { announce, classes, copied, edition, isAhead, session, setCopied, settings, snap, t, words } from "./store.ts";

/** One message of the conversation; `first` and `last` within what one side says in a row. */
export interface Line {
  key: string;
  item: Item;
  draft?: Draft;
  streaming?: boolean;
  /** The welcome text, which no server stores: it cannot be rated. */
  local?: boolean;
  first?: boolean;
  last?: boolean;
}

export function webUrl(url: string | null | undefined): string | undefined {
  return url && /^https?:\/\//i.test(url) ? url : undefined;
}

const hide = (event: Event) => ((event.currentTarget as HTMLElement).hidden = true);

/** The first letter of the name, and over it the picture, if it loads. */
export function avatar(name: string, src?: string | null) {
  return (
    <span class="avatar" aria-hidden="true">
      {[...name][0]}
      {src && <img key={src} src={src} alt="" onError={hide} />}
    </span>
  );
}

export function dots() {
  return (
    <div class="bubble dots" data-fd="typing" role="img" aria-label="…">
      <i />
      <i />
      <i />
    </div>
  );
}

/** Whether it still waits for the visitor's yes or no. */
const isOpen = ({ state, expires }: Step) => state === "confirm" && (expires === undefined || isAhead(expires));

function step(tool: Step) {
  const { call_id, label, state, text } = tool;
  const open = isOpen(tool);
  const disabled = !open || snap.http;
  const answer = (ok: boolean) => session.confirm(call_id, ok);
  return (
    <li key={call_id} class={"step " + state} data-fd="tool" data-state={state}>
      {state === "running" ? <i class="spin" /> : state !== "confirm" && icon(state === "done" ? "check" : "close", 16)}
      <span dir="auto">
        {label}
        {text && <small dir="auto">{text}</small>}
        {state === "confirm" && !open && <small dir="auto" data-fd="expired">{t.expired}</small>}
      </span>
      {state === "confirm" && (
        <div class="row">
          {button(t.allow, "button main", "approve", () => answer(true), { disabled })}
          {button(t.deny, "button", "deny", () => answer(false), { disabled })}
        </div>
      )}
    </li>
  );
}

function actions({ id, text, rating }: Item) {
  const done = copied === id;
  const copy = () => void navigator.clipboard.writeText(text).then(() => setCopied(id), () => announce(t.wrong));
  const thumb = (to: "up" | "down") => press("up", t[to], "act " + to, to, () => session.rate(id, to), { "aria-pressed": rating === to });
  return (
    <span class="acts">
      {/* An http page has no clipboard. */}
      {navigator.clipboard && press(done ? "check" : "copy", t.copy, done ? "act ok" : "act", "copy", copy)}
      {done && <span class="ok">{t.copied}</span>}
      {!snap.http && thumb("up")}
      {!snap.http && thumb("down")}
    </span>
  );
}

function render({ item, draft, streaming, local, first, last, key }: Line) {
  const { role, text, tools, citations } = item;
  const mine = role === "user";
  const failed = draft?.state === "failed";
  const name = item.author?.name ?? settings.title;
  return (
    <article
      key={key}
      class={classes("msg", mine ? "mine" : "theirs", first && "first", last && "last", streaming && "live", failed && "bad")}
      data-fd="message"
      data-role={role}
      data-id={item.id}
      data-state={draft?.state ?? (streaming ? "streaming" : item.stopped ? "stopped" : "sent")}
      aria-label={mine ? t.you : name}
    >
      {!mine && first && avatar(name, role === "operator" ? webUrl(item.author?.avatar_url) : settings.logo_url)}
      {role === "operator" && first && (
        <small class="by" dir="auto">
          {name}
        </small>
      )}
      {!!tools?.length && <ul class="tools">{tools.map(step)}</ul>}
      {text ? (
        <div class="bubble" data-fd="text" dir="auto">
          {mine ? text : <Markdown text={text} streaming={streaming} />}
        </div>
      ) : (
        streaming && !tools?.some((tool) => tool.state !== "done") && dots()
      )}
      {!!citations?.length && (
        <ul class="sources">
          {citations.map(({ n, title, url }) => (
            <a key={n} href={webUrl(url)} target="_blank" rel="noopener noreferrer">
              {n} · {title}
            </a>
          ))}
        </ul>
      )}
      <div class="meta">
        {last && !streaming && !local && !draft && <time dateTime={item.created_at}>{words.time(item.created_at)}</time>}
        {item.stopped && <span>{t.stopped}</span>}
        {role === "assistant" && !streaming && !local && actions(item)}
        {draft?.state === "sending" && <span class="late">{t.sending}</span>}
        {failed && [
          <span class="error" role="alert" dir="auto">
            {draft.error || t.wrong}
          </span>,
          button(t.retry, "link", "retry", () => session.retry(draft.cid), { disabled: isAhead(snap.limited) }),
          button(t.remove, "link", "remove", () => session.remove(draft.cid)),
        ]}
      </div>
    </article>
  );
}

const drawn = new WeakMap<Item, { sign: string; node: VNode }>();

/** Drawn again only when it changed: a long conversation costs nothing while an answer streams. */
export function message(line: Line): VNode {
  const { first, last, item, draft } = line;
  const sign = [first, last, edition, snap.http, copied === item.id, draft && isAhead(snap.limited), item.tools?.some(isOpen)].join();
  let known = drawn.get(item);
  if (known?.sign !== sign) drawn.set(item, (known = { sign, node: render(line) }));
  return known.node;
}
