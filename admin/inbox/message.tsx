/** What is said in a conversation: by the visitor, by the AI with what it did for it, by operators. */

import type { ComponentChildren } from "preact";
import type { ToolTrace, TurnTrace } from "../../widget-src/core/protocol.gen.ts";
import type { Draft, Item } from "../../widget-src/core/reducer.ts";
import { Markdown } from "../../widget-src/markdown/markdown.tsx";
import type { TurnInfo } from "../core/api.gen.ts";
import { absolute, time } from "../core/text.ts";
import { Button } from "../ui/button.tsx";
import { Icon } from "../ui/icon.tsx";
import { CallView } from "./call.tsx";
import { type Call, liveCalls, recordedCalls } from "./core/calls.ts";
import type { Entry } from "./core/timeline.ts";
import { LiveTrace, TurnView } from "./turn.tsx";
import { WORDS } from "./words.ts";

/** What can be done from within a conversation; the same functions as long as it is shown. */
export interface Acts {
  answer(call_id: string, approved: boolean): void;
  retry(cid: string): void;
  remove(cid: string): void;
  deleteNote(id: number): void;
}

/** What the AI did for an answer. */
interface Work {
  turn?: TurnInfo;
  trace?: TurnTrace;
  /** Those of this answer's steps; null where it has none. */
  traces: Record<string, ToolTrace> | null;
}

const Calls = ({ calls, acts }: { calls: Call[]; acts: Acts }) =>
  calls.length > 0 && (
    <ul class="inbox-calls">
      {calls.map((call) => (
        <CallView key={call.id} call={call} onAnswer={acts.answer} />
      ))}
    </ul>
  );

export const At = ({ at }: { at: string | number }) => {
  const date = new Date(at);
  return date.getTime() ? (
    <time dateTime={date.toISOString()} title={absolute(at)}>
      {time(at)}
    </time>
  ) : null;
};

interface FrameProps {
  /** Whose words they are: the visitor's stand on the other side. */
  side: "visitor" | "ai" | "operator";
  name: string;
  first: boolean;
  last: boolean;
  state: string;
  id: string;
  above?: ComponentChildren;
  foot?: ComponentChildren;
  children: ComponentChildren;
}

function Frame({ side, name, first, last, state, id, above, foot, children }: FrameProps) {
  return (
    <article class={`inbox-msg ${side}${first ? " first" : ""}${last ? " last" : ""}`} aria-label={name} data-fd="message" data-role={side} data-state={state} data-id={id}>
      {first && (
        <span class="inbox-by" dir="auto">
          {name}
        </span>
      )}
      {above}
      {children}
      {foot && <div class="inbox-foot">{foot}</div>}
    </article>
  );
}

const Bubble = ({ text, plain, streaming }: { text: string; plain?: boolean; streaming?: boolean }) => (
  <div class={`inbox-bubble${streaming ? " live" : ""}`} data-fd="text" dir="auto">
    {plain ? text : <Markdown text={text} streaming={streaming} />}
  </div>
);

const Dots = () => (
  <div class="inbox-bubble inbox-dots" role="img" aria-label={WORDS.thinking} data-fd="dots">
    <i />
    <i />
    <i />
  </div>
);

interface MessageProps extends Work {
  item: Item;
  first: boolean;
  last: boolean;
  visitor: string;
  acts: Acts;
}

export function Message({ item, first, last, visitor, turn, trace, traces, acts }: MessageProps) {
  const { role, text, tools, rating, stopped, cached, author } = item;
  const side = role === "user" ? "visitor" : role === "assistant" ? "ai" : "operator";
  const name = side === "visitor" ? visitor : side === "ai" ? WORDS.ai : (author?.name ?? WORDS.someone);
  const calls = turn ? recordedCalls(turn.calls, turn.finished_at !== null) : liveCalls(tools, traces ?? {});
  const marks = [
    stopped && <span key="stopped">{WORDS.stopped}</span>,
    cached && <span key="cached">{WORDS.cached}</span>,
    rating && (
      <span key="rating" class={`inbox-rated ${rating}`} title={rating === "up" ? WORDS.ratedUp : WORDS.ratedDown} data-fd="rated">
        <Icon name={rating === "up" ? "thumbUp" : "thumbDown"} size={14} />
      </span>
    ),
  ].filter(Boolean);
  return (
    <Frame
      side={side}
      name={name}
      first={first}
      last={last}
      id={item.id}
      state={stopped ? "stopped" : "sent"}
      above={<Calls calls={calls} acts={acts} />}
      foot={
        <>
          {turn && <TurnView turn={turn} trace={trace} />}
          {marks}
          {last && <At at={item.created_at} />}
        </>
      }
    >
      {text ? <Bubble text={text} plain={side === "visitor"} /> : <p class="inbox-removed">{WORDS.removed}</p>}
    </Frame>
  );
}

export function DraftView({ draft, first, last, acts }: { draft: Draft; first: boolean; last: boolean; acts: Acts }) {
  const failed = draft.state === "failed";
  const foot = failed ? (
    <>
      <span class="inbox-error" role="alert" dir="auto">
        {draft.error}
      </span>
      <Button small kind="quiet" onClick={() => acts.retry(draft.cid)} fd="retry-reply">
        {WORDS.retry}
      </Button>
      <Button small kind="quiet" onClick={() => acts.remove(draft.cid)} fd="remove-reply">
        {WORDS.remove}
      </Button>
    </>
  ) : (
    draft.state === "sending" && <span class="inbox-late">{WORDS.sending}</span>
  );
  return (
    <Frame side="operator" name={WORDS.you} first={first} last={last} id={draft.cid} state={draft.state} foot={foot}>
      <Bubble text={draft.text} />
    </Frame>
  );
}

interface LiveProps extends Work {
  entry: Extract<Entry, { kind: "live" }>;
  acts: Acts;
}

export function LiveView({ entry, acts, turn, trace, traces }: LiveProps) {
  const { live, first, last } = entry;
  const calls = liveCalls(live.tools, traces ?? {}, turn?.calls);
  return (
    <Frame
      side="ai"
      name={WORDS.ai}
      first={first}
      last={last}
      id={live.message_id}
      state="streaming"
      above={<Calls calls={calls} acts={acts} />}
      foot={trace && <LiveTrace trace={trace} />}
    >
      {live.text ? <Bubble text={live.text} streaming /> : <Dots />}
    </Frame>
  );
}
