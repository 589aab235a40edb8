/** What was said, from the oldest that is loaded to what is being said now. */

import { useMemo, useState } from "preact/hooks";
import type { NoteInfo } from "../core/api.gen.ts";
import { asApiError, type ApiError } from "../core/api.ts";
import { Button } from "../ui/button.tsx";
import { Empty, ErrorBox, Skeleton, Spinner } from "../ui/show.tsx";
import type { ConversationStore } from "./core/conversation_store.ts";
import type { Talk } from "./core/talk.ts";
import { type Entry, timeline } from "./core/timeline.ts";
import { EntryView } from "./entry.tsx";
import type { Acts } from "./message.tsx";
import { useAhead } from "./use_source.ts";
import { useFollow } from "./use_follow.ts";
import { type Turns, useTurns } from "./use_turns.ts";
import { WORDS } from "./words.ts";

/** Turns are read anew when one begins or ends, with or without a message. */
const markOf = ({ state }: Talk): string => `${state.live?.turn_id ?? ""} ${state.failed?.text ?? ""} ${state.messages.length}`;

/** The turn behind an entry. */
function turnOf(entry: Entry): string | null | undefined {
  if (entry.kind === "message") return entry.item.turn_id;
  return entry.kind === "live" ? entry.live.turn_id : null;
}

const hasSteps = (entry: Entry): boolean => (entry.kind === "live" ? !!entry.live.tools?.length : entry.kind === "message" && !!entry.item.tools?.length);

interface TranscriptProps {
  store: ConversationStore;
  talk: Talk;
  notes: NoteInfo[];
  acts: Acts;
  visitor: string;
  me: number | undefined;
  /** How many messages it has; undefined while that is not known. */
  total: number | undefined;
}

export function Transcript({ store, talk, notes, acts, visitor, me, total }: TranscriptProps) {
  const { state, traces, calls } = talk;
  const [older, setOlder] = useState<"may" | "none" | "loading" | ApiError>("may");
  const from = Date.parse(state.messages[0]?.created_at ?? "") || Infinity;
  const { turns, error } = useTurns(store.id, markOf(talk), from);
  const list = useMemo(() => Object.values(turns), [turns]);
  const said = state.messages.filter((item) => !item.owner).length;
  const whole = older === "none" || (total !== undefined && said >= total);
  const entries = timeline(talk, notes, list, whole, Date.now());

  const loadOlder = async () => {
    if (older === "loading" || whole) return;
    setOlder("loading");
    try {
      setOlder((await store.older()) ? "may" : "none");
    } catch (problem) {
      setOlder(asApiError(problem));
    }
  };
  const { place, onScroll, behind, toEnd } = useFollow(entries[0]?.key, entries.length, state.outbox.at(-1)?.cid, () => void loadOlder());
  const types = useAhead(talk.visitorTyping);

  return (
    <div class="inbox-transcript">
      <div ref={place} class="inbox-scroll" role="log" aria-live="off" aria-label={visitor} tabIndex={0} onScroll={onScroll} data-fd="transcript">
        {!state.loaded ? (
          <Skeleton lines={6} />
        ) : (
          <>
            <Older state={whole ? "none" : older} onLoad={() => void loadOlder()} />
            {!entries.length && <Empty icon="inbox" title={WORDS.noMessages} />}
            {entries.map((entry) => (
              <Shown key={entry.key} entry={entry} turns={turns} traces={traces} calls={calls} acts={acts} visitor={visitor} me={me} />
            ))}
            {((state.waiting && !state.live && state.owner === "ai") || types) && <Coming visitor={types} />}
            {error && <ErrorBox error={error} />}
          </>
        )}
      </div>
      {behind && (
        <span class="inbox-newer">
          <Button small icon="down" onClick={toEnd} fd="newer">
            {WORDS.newer}
          </Button>
        </span>
      )}
    </div>
  );
}

interface ShownProps extends Pick<Talk, "traces" | "calls"> {
  entry: Entry;
  turns: Turns;
  acts: Acts;
  visitor: string;
  me: number | undefined;
}

/** With what belongs to this entry alone, so that news of another does not draw it again. */
function Shown({ entry, turns, traces, calls, ...rest }: ShownProps) {
  const id = turnOf(entry);
  const turn = id ? turns[id] : undefined;
  return <EntryView entry={entry} turn={turn} trace={id ? traces[id] : undefined} traces={hasSteps(entry) ? calls : null} {...rest} />;
}

/** Somebody is about to say something. */
const Coming = ({ visitor }: { visitor: boolean }) => (
  <div class={`inbox-msg first ${visitor ? "visitor" : "ai"}`} data-fd={visitor ? "visitor-typing" : "waiting"}>
    <div class="inbox-bubble inbox-dots" role="img" aria-label={visitor ? WORDS.typing : WORDS.thinking}>
      <i />
      <i />
      <i />
    </div>
  </div>
);

function Older({ state, onLoad }: { state: "may" | "none" | "loading" | ApiError; onLoad: () => void }) {
  if (state === "none") return null;
  if (state === "loading") return <Spinner />;
  if (state !== "may") return <ErrorBox error={state} onRetry={onLoad} />;
  return (
    <p class="inbox-older">
      <Button small kind="quiet" onClick={onLoad} fd="older">
        {WORDS.older}
      </Button>
    </p>
  );
}
