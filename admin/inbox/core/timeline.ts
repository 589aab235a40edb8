/** Everything that is shown of a conversation, in order, with what stands together. Pure. */

import type { WhisperRecorded } from "../../../widget-src/core/protocol.gen.ts";
import type { Draft, Item, Live } from "../../../widget-src/core/reducer.ts";
import type { NoteInfo, TurnInfo } from "../../core/api.gen.ts";
import type { Talk } from "./talk.ts";

/** `first` and `last` within what one side says in a row. */
interface Place {
  key: string;
  /** ms since 1970. */
  at: number;
  first: boolean;
  last: boolean;
}

export type Entry = Place &
  (
    | { kind: "message"; item: Item }
    | { kind: "notice"; item: Item }
    | { kind: "draft"; draft: Draft }
    | { kind: "live"; live: Live }
    | { kind: "note"; note: NoteInfo }
    | { kind: "whisper"; whisper: WhisperRecorded }
    | { kind: "failure"; turn: TurnInfo }
    | { kind: "day" }
  );

interface Asides {
  notes: NoteInfo[];
  whispers: WhisperRecorded[];
  turns: TurnInfo[];
}

type Bare = Entry extends infer E ? (E extends Entry ? Omit<E, "first" | "last"> : never) : never;

/** A pause this long (ms) begins a new group. */
const PAUSE = 300_000;

const message = (item: Item): Bare => ({
  kind: item.role === "system" ? "notice" : "message",
  key: item.cid ?? item.id,
  at: Date.parse(item.created_at) || 0,
  item,
});

/** Who says it: what one says in a row stands together. */
function side(entry: Bare): string {
  if (entry.kind === "message") return `${entry.item.role} ${entry.item.author?.name ?? ""}`;
  return entry.kind === "draft" ? "draft" : entry.kind === "live" ? "assistant " : entry.key;
}

const joined = (a: Bare | undefined, b: Bare | undefined): boolean => !!a && !!b && side(a) === side(b) && b.at - a.at < PAUSE;

const day = (at: number): number => new Date(at).setHours(0, 0, 0, 0);

/** What only operators see, from that time on (ms): notes, whispers, and answers that failed and left no message. */
function aside({ notes, whispers, turns }: Asides, from: number): Bare[] {
  const all: Bare[] = [
    ...notes.map((note) => ({ kind: "note", key: `note-${note.id}`, at: Date.parse(note.created_at), note }) as const),
    ...whispers.map((whisper) => ({ kind: "whisper", key: `whisper-${whisper.no}`, at: Date.parse(whisper.created_at), whisper }) as const),
  ];
  for (const turn of turns) {
    if (turn.status === "failed") all.push({ kind: "failure", key: turn.turn_id, at: Date.parse(turn.finished_at ?? turn.queued_at), turn });
  }
  return all.filter((entry) => entry.at >= from).sort((a, b) => a.at - b.at);
}

/** Two lists in order as one; what is said aside comes after what was said at the same time. */
function weave(said: Bare[], between: Bare[]): Bare[] {
  const all: Bare[] = [];
  let i = 0;
  for (const entry of said) {
    while (i < between.length && between[i]!.at < entry.at) all.push(between[i++]!);
    all.push(entry);
  }
  return [...all, ...between.slice(i)];
}

/** `whole`: there are no older messages, so nothing stands before the first one. `now` is in ms since 1970. */
export function timeline({ state, whispers }: Talk, notes: NoteInfo[], turns: TurnInfo[], whole: boolean, now: number): Entry[] {
  const said = state.messages.map(message);
  const from = whole ? -Infinity : (said[0]?.at ?? Infinity);
  const all = weave(said, aside({ notes, whispers, turns }, from));
  if (state.live) all.push({ kind: "live", key: state.live.message_id, at: now, live: state.live });
  for (const draft of state.outbox) all.push({ kind: "draft", key: draft.cid, at: draft.at, draft });
  const entries: Entry[] = [];
  all.forEach((entry, i) => {
    const before = all[i - 1];
    if (!before ? day(entry.at) !== day(now) : day(before.at) !== day(entry.at)) {
      entries.push({ kind: "day", key: `day-${day(entry.at)}`, at: entry.at, first: true, last: true });
    }
    entries.push({ ...entry, first: !joined(before, entry), last: !joined(entry, all[i + 1]) } as Entry);
  });
  return entries;
}
