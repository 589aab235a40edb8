/** Where one writes: to the visitor, to the AI, or to other operators. What is begun stays when one looks elsewhere. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { asApiError, type ApiError } from "../core/api.ts";
import { Button } from "../ui/button.tsx";
import { Icon } from "../ui/icon.tsx";
import { ErrorBox } from "../ui/show.tsx";
import { Tabs } from "../ui/tabs.tsx";
import type { ConversationStore } from "./core/conversation_store.ts";
import type { Talk } from "./core/talk.ts";
import type { Standing } from "./head.tsx";
import { fill, WORDS } from "./words.ts";

export type Mode = "reply" | "whisper" | "note";

/** What the server takes, in characters after trimming. */
const LIMIT = 5000;
/** "Is typing" is taken back after this silence (ms). */
const STILL = 4000;
/** CSS pixels; after that it scrolls. */
const HIGH = 220;

/** What was begun and not sent, by conversation and mode: as long as the page lives. */
const begun = new Map<string, string>();

/**
 * After the next drawing, which may be the one that makes it ready to be written in. Drawings are microtasks, so that the
 * next key, however fast it is pressed, goes to the composer.
 */
export function focusComposer(): void {
  queueMicrotask(() => document.querySelector<HTMLTextAreaElement>("[data-fd=composer]")?.focus());
}

interface ComposerProps {
  store: ConversationStore;
  talk: Talk;
  stands: Standing;
  mode: Mode;
  onMode: (mode: Mode) => void;
  onNote: (text: string) => Promise<void>;
}

/** Who is told that one types: the visitor, of whoever has the conversation. */
function useTyping(store: ConversationStore, on: boolean) {
  const still = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const stop = () => {
    clearTimeout(still.current);
    store.typing(false);
  };
  useEffect(() => stop, [store]);
  return {
    stop,
    types() {
      if (!on) return;
      store.typing(true);
      clearTimeout(still.current);
      still.current = setTimeout(stop, STILL);
    },
  };
}

/** Why one cannot reply, and what to do about it. */
function Instead({ stands, talk, store }: Pick<ComposerProps, "stands" | "talk" | "store">) {
  const { owner, holder } = stands;
  const taken = owner === "human";
  const text = taken
    ? fill(WORDS.takenBy, { name: holder ?? WORDS.someone })
    : { ai: WORDS.takeToReply, queued: WORDS.queuedToReply, closed: WORDS.closedToReply }[owner];
  return (
    <div class="inbox-instead" data-fd={`instead-${owner}`}>
      <p dir="auto">{text}</p>
      {!taken && (
        <Button kind="primary" icon="hand" busy={talk.commands["conversation.take"]?.state === "running"} onClick={store.takeOver} fd="take-to-reply">
          {WORDS.take}
        </Button>
      )}
    </div>
  );
}

export function Composer({ store, talk, stands, mode, onMode, onNote }: ComposerProps) {
  const key = `${store.id} ${mode}`;
  const [, redraw] = useState(0);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const text = begun.get(key) ?? "";
  const typing = useTyping(store, mode === "reply" && stands.mine);

  const write = (next: string) => {
    if (next) begun.set(key, next);
    else begun.delete(key);
    redraw((n) => n + 1);
  };
  useLayoutEffect(() => {
    const { current } = field;
    if (!current) return;
    current.style.height = "auto";
    current.style.height = `${Math.min(HIGH, current.scrollHeight)}px`;
  }, [text, mode, stands.mine]);

  // A whisper that was refused comes back to be said again.
  const whispered = talk.commands["whisper.send"];
  useEffect(() => {
    const place = `${store.id} whisper`;
    if (whispered?.state === "failed" && whispered.text && !begun.has(place)) {
      begun.set(place, whispered.text);
      redraw((n) => n + 1);
    }
  }, [whispered]);

  // Who has just taken it over here wants to write.
  const take = talk.commands["conversation.take"]?.state;
  const taking = take === "running";
  const took = useRef(false);
  took.current = take === undefined ? took.current : taking;
  useEffect(() => {
    if (!stands.mine || !took.current || taking) return;
    took.current = false;
    onMode("reply");
    focusComposer();
  }, [stands.mine, taking]);

  const over = text.trim().length - LIMIT;
  const ready = text.trim().length > 0 && over <= 0;
  const send = async () => {
    if (!ready || busy || (mode === "whisper" && whispered?.state === "running")) return;
    typing.stop();
    setError(null);
    if (mode === "note") {
      setBusy(true);
      try {
        await onNote(text);
        write("");
      } catch (problem) {
        setError(asApiError(problem));
      }
      setBusy(false);
      return;
    }
    if (mode === "whisper") store.whisper(text);
    else store.reply(text);
    write("");
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Escape") field.current?.blur();
    // While an input method composes, Enter chooses a word. Safari tells it by the code only.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    void send();
  };

  const modes: readonly Mode[] = ["reply", "whisper", "note"];
  return (
    <form
      class={`inbox-composer ${mode}`}
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <Tabs label={WORDS.modes[mode]} tabs={modes.map((id) => ({ id, label: WORDS.modes[id] }))} value={mode} onChange={(id) => onMode(id as Mode)} fd="modes" />
      {error && <ErrorBox error={error} />}
      {mode === "reply" && !stands.mine ? (
        <Instead stands={stands} talk={talk} store={store} />
      ) : (
        <div class="inbox-write">
          <textarea
            ref={field}
            rows={1}
            dir="auto"
            value={text}
            placeholder={WORDS.write[mode]}
            aria-label={WORDS.write[mode]}
            aria-invalid={over > 0}
            onInput={({ currentTarget }) => {
              write(currentTarget.value);
              typing.types();
            }}
            onKeyDown={onKey}
            data-fd="composer"
          />
          {over > 0 && <small class="inbox-error">{fill(WORDS.tooLong, { n: over })}</small>}
          <Button kind="primary" submit busy={busy} disabled={!ready} fd="send">
            <Icon name={mode === "note" ? "note" : mode === "whisper" ? "whisper" : "send"} size={16} />
            {WORDS.send[mode]}
          </Button>
        </div>
      )}
    </form>
  );
}
