/** One thing of a conversation: a message, an answer that streams, a note, a whisper, or what happened between. */

import { Component, type ComponentChildren } from "preact";
import type { ToolTrace, TurnTrace } from "../../widget-src/core/protocol.gen.ts";
import type { Item } from "../../widget-src/core/reducer.ts";
import type { TurnInfo } from "../core/api.gen.ts";
import { day } from "../core/text.ts";
import { Button } from "../ui/button.tsx";
import { Icon } from "../ui/icon.tsx";
import type { Entry } from "./core/timeline.ts";
import { type Acts, At, DraftView, LiveView, Message } from "./message.tsx";
import { TurnView } from "./turn.tsx";
import { differs } from "./use_source.ts";
import { fill, WORDS } from "./words.ts";

export interface EntryProps {
  entry: Entry;
  acts: Acts;
  visitor: string;
  me: number | undefined;
  turn?: TurnInfo;
  trace?: TurnTrace;
  /** Those of this entry's steps; null where it has none. */
  traces: Record<string, ToolTrace> | null;
}

/** Who answers has changed. */
function notice({ owner, author, text }: Item): string {
  switch (owner) {
    case "human":
      return fill(WORDS.joined, { name: author?.name ?? WORDS.someone });
    case "ai":
      return WORDS.gaveBack;
    case "queued":
      return WORDS.asked;
    case "closed":
      return WORDS.closed;
    default:
      return text;
  }
}

interface AsideProps {
  kind: "note" | "whisper";
  label: string;
  by: string | null;
  at: string;
  text: string;
  action?: ComponentChildren;
}

/** What the visitor never sees. */
function Aside({ kind, label, by, at, text, action }: AsideProps) {
  return (
    <div class={`inbox-aside ${kind}`} data-fd={kind} title={WORDS.noteHint}>
      <header>
        <Icon name={kind} size={16} />
        <strong>{label}</strong>
        {by && (
          <bdi dir="auto" class="inbox-aside-by">
            {by}
          </bdi>
        )}
        <At at={at} />
        {action}
      </header>
      <p dir="auto">{text}</p>
    </div>
  );
}

function draw({ entry, ...rest }: EntryProps): ComponentChildren {
  const { first, last } = entry;
  switch (entry.kind) {
    case "message":
      return <Message item={entry.item} first={first} last={last} {...rest} />;
    case "live":
      return <LiveView entry={entry} {...rest} />;
    case "draft":
      return <DraftView draft={entry.draft} first={first} last={last} acts={rest.acts} />;
    case "day":
      return <p class="inbox-day">{day(entry.at)}</p>;
    case "notice":
      return (
        <p class="inbox-notice" dir="auto" data-fd="notice">
          {notice(entry.item)}
        </p>
      );
    case "failure":
      return (
        <div class="inbox-notice bad" data-fd="failure">
          <span dir="auto">{fill(WORDS.turnFailed, { why: entry.turn.error ?? "" })}</span>
          <TurnView turn={entry.turn} />
        </div>
      );
    case "whisper": {
      const { text, created_at, operator } = entry.whisper;
      return <Aside kind="whisper" label={WORDS.whispered} by={operator?.name ?? null} at={created_at} text={text} />;
    }
    case "note": {
      const { id, text, created_at, operator } = entry.note;
      const mine = operator !== null && operator.id === rest.me;
      const remove = mine && <Button small kind="quiet" icon="trash" label={WORDS.deleteNote} onClick={() => rest.acts.deleteNote(id)} fd="delete-note" />;
      return <Aside kind="note" label={WORDS.note} by={operator?.name ?? null} at={created_at} text={text} action={remove} />;
    }
  }
}

/** What an entry is of, the same object as long as nothing of it changed. */
function subject(entry: Entry): unknown {
  switch (entry.kind) {
    case "message":
    case "notice":
      return entry.item;
    case "draft":
      return entry.draft;
    case "live":
      return entry.live;
    case "note":
      return entry.note;
    case "whisper":
      return entry.whisper;
    case "failure":
      return entry.turn;
    case "day":
      return entry.at;
  }
}

/** Drawn again only when something of it changed: a long conversation costs nothing while its end streams. */
export class EntryView extends Component<EntryProps> {
  override shouldComponentUpdate(next: EntryProps): boolean {
    const { entry: old, ...before } = this.props;
    const { entry, ...after } = next;
    return old.first !== entry.first || old.last !== entry.last || subject(old) !== subject(entry) || differs(before, after);
  }

  override render(props: EntryProps) {
    return draw(props);
  }
}
