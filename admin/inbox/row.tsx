/** One line of the list: who, what was said last or is being said now, and whether somebody waits. */

import { Component } from "preact";
import { useEffect } from "preact/hooks";
import { duration } from "../core/text.ts";
import { Link } from "../router.ts";
import { Badge, Foreign } from "../ui/show.tsx";
import { Icon } from "../ui/icon.tsx";
import { Time } from "../ui/values.tsx";
import { isAnswering, type Talk } from "./core/talk.ts";
import type { Row } from "./core/rows.ts";
import { desk } from "./live.ts";
import { differs, useAhead, useSource, useTick } from "./use_source.ts";
import { fill, WORDS } from "./words.ts";

/** So much of the end of an answer that is being written is shown. */
const TAIL = 90;
/** Waiting is told anew after so many milliseconds. */
const TICK = 10_000;
const MINUTE = 60_000;

/** A name for somebody who gave none: the same one each time. */
export const nameOf = ({ conversation_id, visitor_name }: Pick<Row, "conversation_id" | "visitor_name">): string =>
  visitor_name ?? `${WORDS.visitor} ${conversation_id.slice(-4)}`;

/** Without the marks of Markdown, of which a line has no use. */
const plain = (text: string): string => text.replace(/[*_`#>|]+|-{3,}/g, "");

/** What is being said; null: nothing. One text, so that a row is drawn again only when it changes. */
function nowSaid(talk: Talk): string | null {
  if (!talk.watched || !isAnswering(talk)) return null;
  return plain(talk.state.live?.text.slice(-TAIL) ?? "");
}

/** How long somebody has waited, to the minute. */
export function Waits({ since }: { since: string }) {
  useTick(TICK);
  const ms = Date.now() - Date.parse(since);
  return (
    <Badge tone="warn" dot fd="waits">
      {ms < MINUTE ? WORDS.waitsShort : fill(WORDS.waits, { time: duration(Math.floor(ms / MINUTE) * MINUTE) })}
    </Badge>
  );
}

export function OwnerBadge({ owner, operator, mine }: { owner: Row["owner"]; operator?: { name: string } | null; mine: boolean }) {
  if (owner !== "human") {
    return (
      <Badge tone={owner === "queued" ? "warn" : "neutral"} fd={`owner-${owner}`}>
        {WORDS.owners[owner]}
      </Badge>
    );
  }
  return (
    <Badge tone="accent" fd="owner-human">
      <bdi dir="auto">{mine ? WORDS.you : (operator?.name ?? WORDS.someone)}</bdi>
    </Badge>
  );
}

function Said({ row }: { row: Row }) {
  const { talk } = desk.conversation(row.conversation_id);
  const said = useSource(talk, nowSaid);
  const types = useAhead(useSource(talk, (now) => now.visitorTyping));
  if (said !== null) {
    return (
      <span class="inbox-now" data-fd="answering">
        <span class="inbox-pulse" aria-hidden="true" />
        <span class="unseen">{WORDS.answering}</span>
        {said ? (
          <span class="inbox-tail">
            <bdi dir="auto">{said}</bdi>
          </span>
        ) : (
          WORDS.thinking
        )}
      </span>
    );
  }
  if (types) {
    return (
      <span class="inbox-now" data-fd="typing">
        <span class="inbox-pulse" aria-hidden="true" />
        {WORDS.typing}
      </span>
    );
  }
  return (
    <span class="inbox-preview" dir="auto">
      {row.preview == null ? WORDS.noPreview : plain(row.preview)}
    </span>
  );
}

interface RowProps {
  row: Row;
  to: string;
  /** It is the open one. */
  current: boolean;
  /** The keyboard is at it. */
  pointed: boolean;
  mine: boolean;
  client: string | null;
  /** It is on the screen, or no more. */
  onShown: (id: string, shown: boolean) => void;
}

function Line({ row, to, current, pointed, mine, client, onShown }: RowProps) {
  const { conversation_id: id, waiting_since, rating } = row;
  useEffect(() => {
    onShown(id, true);
    return () => onShown(id, false);
  }, [id]);
  return (
    <Link to={to} current={current} class={`inbox-row${pointed ? " pointed" : ""}`} fd="row">
      <span class="inbox-row-head">
        <span class="inbox-name">
          <Foreign text={nameOf(row)} />
        </span>
        {rating && <Icon name={rating === "up" ? "thumbUp" : "thumbDown"} size={14} />}
        <Time at={row.last_activity_at} />
      </span>
      <Said row={row} />
      <span class="inbox-row-foot">
        {client !== null && (
          <bdi class="inbox-client" dir="auto">
            {client}
          </bdi>
        )}
        {waiting_since && <Waits since={waiting_since} />}
        <OwnerBadge owner={row.owner} operator={row.operator} mine={mine} />
      </span>
    </Link>
  );
}

/** Drawn again only when something of it changed. */
export class RowLine extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    return differs(this.props, next);
  }

  override render(props: RowProps) {
    return <Line {...props} />;
  }
}
