/** @jsxRuntime classic */
/** @jsx h */
import { h } from "preact";
import type { Item } from "../core/reducer.ts";
import { button, icon } from "./controls.tsx";
import { fill } from "./i18n/index.ts";
import { isNote, lines } from "./lines.ts";
import { dots, message } from "./message.tsx";
import { listRef, onScroll, toEnd } from "./scroll.ts";
import { actions, behind, isAhead, said, session, settings, snap, t, words } from "./store.ts";

const began = Date.now();

/** A line in the middle: the conversation changed hands, or the system says something. */
function note({ id, owner, author, text }: Item) {
  if (owner === "ai" || owner === "closed") return null; // said elsewhere
  const sentence = owner === "human" ? fill(t.joined, author?.name ?? settings.title) : owner ? t[owner] : text;
  return (
    <p key={id} class="note" data-fd="note" dir="auto">
      {sentence}
    </p>
  );
}

/** An answer that failed, with a way to ask once more. */
function failure() {
  const { failed, messages } = snap;
  const asked = messages.filter((m) => m.role === "user").pop();
  return (
    failed && (
      <div class="failure" role="alert" data-fd="failed">
        <span dir="auto">{failed.text || t.wrong}</span>
        {failed.retryable && asked && button(t.retry, "button", "again", () => actions.send(asked.text))}
      </div>
    )
  );
}

function suggestions() {
  return settings.suggestions.map((text) => button(text, "idea", "suggestion", () => actions.send(text), { key: text, dir: "auto" }));
}

export function conversation() {
  const { link, messages, outbox } = snap;
  const loading = !snap.loaded && link !== "idle" && link !== "ended" && !outbox.length && session.known();
  const waiting = (snap.waiting && !snap.live && link === "online") || isAhead(snap.typing);
  let day = new Date(began).toDateString();
  return (
    <div class="body">
      <div class="list" ref={listRef} onScroll={onScroll} tabIndex={0} role="log" aria-live="off" aria-label={settings.title} data-fd="list">
        {loading ? (
          <div class="skeleton" data-fd="loading" />
        ) : (
          lines(snap, settings, began).map((line) => {
            const before = day;
            day = new Date(line.item.created_at).toDateString();
            return [
              day !== before && (
                <p key={day} class="note day">
                  {words.day(line.item.created_at)}
                </p>
              ),
              isNote(line.item) ? note(line.item) : message(line),
            ];
          })
        )}
        {waiting && <div class="msg theirs first">{dots()}</div>}
        {failure()}
        {!loading && link !== "ended" && !messages.length && !outbox.length && <div class="ideas">{suggestions()}</div>}
      </div>
      {behind && button([t.newer, icon("fold", 16)], "newer button", "newer", toEnd)}
      <div class="sr" aria-live="polite">
        {said}
      </div>
    </div>
  );
}
