/** @jsxRuntime classic */
/** @jsx h */
import { h } from "preact";
import { press } from "./controls.tsx";
import { fill } from "./i18n/index.ts";
import { actions, draft, edition, isAhead, mobile, session, settings, snap, t, words, write } from "./store.ts";

/** How many characters before the limit the counter appears. */
const NEAR = 500;
/** "Is typing" is taken back after this silence (ms). */
const STILL = 4_000;

let still: ReturnType<typeof setTimeout> | undefined;

function typing(on: boolean) {
  const { owner } = snap;
  if (owner !== "human" && owner !== "queued") return;
  if (on === !still) session.typing(on);
  clearTimeout(still);
  still = on ? setTimeout(typing, STILL, false) : undefined;
}

const left = () => settings.limit - draft.trim().length;
const ready = () => !!draft.trim() && left() >= 0 && !isAhead(snap.limited);

function submit(event: Event) {
  event.preventDefault();
  if (!ready()) return;
  typing(false);
  actions.send(draft);
  write("");
}

function onKey(event: KeyboardEvent) {
  // While an input method composes, Enter chooses a word. Safari tells it by the code only.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) submit(event);
}

function onInput(event: Event) {
  write((event.currentTarget as HTMLTextAreaElement).value);
  typing(true);
}

let input: HTMLTextAreaElement | null = null;
let before = false;

/** What its height was measured for. */
let fitted = "";

function inputRef(element: HTMLTextAreaElement | null) {
  input = element;
  refit();
  // A question stood here, and its buttons are gone: the keyboard would be nowhere.
  if (before && !mobile && document.activeElement === document.body) input?.focus({ preventScroll: true });
  before ||= !!element;
  setTimeout(words.time, 1000, 1); // the first takes a browser 50 ms, and should not be the first answer's
}

/** Another width breaks other lines. */
export function refit(): void {
  fitted = "";
}

/** After each drawing: as high as its text. To measure it lays out the page, so that is done for what is new only. */
export function fitInput(): void {
  const now = edition + draft;
  if (!input || now === fitted) return;
  fitted = now;
  input.style.height = "auto";
  input.style.height = input.scrollHeight + "px";
}

export function composer() {
  const { limited } = snap;
  const over = left() < 0;
  return (
    <form class="composer" onSubmit={submit}>
      {isAhead(limited) && (
        <p class="note" role="timer" data-fd="limited">
          {fill(t.limited, words.ahead(limited - Date.now()))}
        </p>
      )}
      <div class="field">
        <textarea
          ref={inputRef}
          data-fd="input"
          rows={1}
          value={draft}
          dir={draft ? "auto" : undefined}
          placeholder={t.write}
          aria-label={t.write}
          aria-invalid={over}
          enterkeyhint="send"
          onInput={onInput}
          onKeyDown={onKey}
        />
        {left() < NEAR && (
          <small class={over ? "error" : ""} data-fd="count">
            {left()}
          </small>
        )}
        {snap.live && !draft.trim() && !snap.http
          ? press("stop", t.stop, "go", "stop", session.stopTurn)
          : press("send", t.send, "go", "send", undefined, { type: "submit", disabled: !ready() })}
      </div>
    </form>
  );
}
