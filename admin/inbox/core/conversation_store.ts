/**
 * One conversation and what can be done to it. Replies are kept until they are known to be stored, and said again with the same
 * cid after a loss, which is safe. Commands are not: one whose answer was lost is told as such, and a person decides.
 */

import type { ConversationWatch, FromOperator, Message } from "../../../widget-src/core/protocol.gen.ts";
import { discard, draft, prepend } from "../../../widget-src/core/reducer.ts";
import { newCid } from "../../../widget-src/core/session.ts";
import type { About, Watcher } from "./operator_session.ts";
import type { Held, Source } from "./source.ts";
import { lose, setCommand, take, type CommandName, type Talk } from "./talk.ts";

/** Messages before another one, oldest first; `before` is null at the start of the conversation. */
export interface OlderMessages {
  messages: Message[];
  before: string | null;
}

export interface Surroundings {
  send(frame: FromOperator): boolean;
  /** Asks to watch it anew. */
  again(): void;
  older(before: string): Promise<OlderMessages>;
  /** Somebody looks at it: other operators may know. */
  present(): boolean;
}

export interface ConversationStore extends Watcher {
  readonly id: string;
  readonly talk: Source<Talk>;
  /** The link is gone: what was asked over it is not answered any more. */
  lost(): void;
  reply(text: string): void;
  /** Says a refused reply again, as a new one: what was refused was never stored. */
  retry(cid: string): void;
  remove(cid: string): void;
  whisper(text: string): void;
  takeOver(): void;
  release(): void;
  close(): void;
  stop(): void;
  approve(call_id: string, approved: boolean): void;
  /** Takes a failed command's message away. */
  dismiss(name: CommandName): void;
  typing(on: boolean): void;
  /** Loads the messages before the first one shown. False: there are none. */
  older(): Promise<boolean>;
}

/** A reply that got no ack in this time (ms) is sent again. */
const UNACKED = 15_000;
/** Before what could not be done for the moment is tried again (ms), unless the server says otherwise. */
const MOMENT = 2_000;
/** "Is typing" is told at most so often (ms); the server drops what comes faster. */
const TYPES = 2_000;

export function createConversationStore(held: Held<Talk>, around: Surroundings): ConversationStore {
  const { id } = held.get();
  let head = -1; // the server's newest seq at the last pong
  let later: ReturnType<typeof setTimeout> | undefined;
  let typed = 0;
  let before: string | null | undefined; // where older messages end; null: there are none
  let asking: Promise<boolean> | null = null;

  const get = () => held.get();
  const change = (next: Partial<Talk>) => held.set({ ...get(), ...next });

  function again(): void {
    head = -1;
    around.again();
  }

  /** Says again what is not known to be stored, and is so old (ms). */
  function resend(age = 0): void {
    for (const { cid, text, at, state } of get().state.outbox) {
      if (state === "sending" && Date.now() - at >= age) around.send({ type: "message.send", conversation_id: id, cid, text });
    }
  }

  function inAMoment(run: () => void, delay = MOMENT): void {
    clearTimeout(later);
    later = setTimeout(run, delay);
  }

  function receive(frame: About): void {
    const old = get();
    held.set(take(old, frame, Date.now()));
    const { state, refused } = get();
    if (frame.type === "conversation.watched") {
      if (!frame.resumed) before = undefined;
      resend();
    } else if (frame.type === "nack" && frame.code === "unavailable") inAMoment(resend, frame.retry_after_ms ?? MOMENT);
    else if (frame.type === "error" && frame.command === "conversation.watch" && refused === null) inAMoment(again, frame.retry_after_ms ?? MOMENT);
    if (state.gap && !old.state.gap) again();
  }

  function command(name: CommandName, frame: FromOperator, text?: string): void {
    if (get().commands[name]?.state === "running") return;
    const sent = around.send(frame);
    held.set(setCommand(get(), name, { state: sent ? "running" : "failed", error: sent ? "" : null, text }));
  }

  function reply(text: string): void {
    const cid = newCid();
    typed = 0;
    change({ state: draft(get().state, cid, text, Date.now()) });
    around.send({ type: "message.send", conversation_id: id, cid, text });
  }

  const remove = (cid: string) => change({ state: discard(get().state, cid) });

  async function fetchOlder(): Promise<boolean> {
    const from = before === undefined ? get().state.messages.find((m) => !m.owner)?.id : before;
    if (!from) return false;
    const page = await around.older(from);
    before = page.before;
    change({ state: prepend(get().state, page.messages) });
    return page.before !== null;
  }

  return {
    id,
    talk: held,
    hello(): ConversationWatch {
      const { seq, epoch } = get().state;
      // What is not resumed is told anew from its beginning, so nothing else is asked for.
      return { type: "conversation.watch", conversation_id: id, epoch, last_seq: seq < 0 ? null : seq };
    },
    receive,
    head(seq) {
      // The event of a head seen at the last pong had a whole heartbeat to arrive.
      if (get().watched && head > get().state.seq) again();
      head = seq;
      resend(UNACKED);
    },
    lost() {
      head = -1;
      clearTimeout(later);
      held.set(lose(get()));
    },
    busy: () => around.present() && get().state.live !== null,
    reply,
    retry(cid) {
      const old = get().state.outbox.find((d) => d.cid === cid);
      remove(cid);
      if (old) reply(old.text);
    },
    remove,
    whisper: (text) => command("whisper.send", { type: "whisper.send", conversation_id: id, text }, text),
    takeOver: () => command("conversation.take", { type: "conversation.take", conversation_id: id }),
    release: () => command("conversation.release", { type: "conversation.release", conversation_id: id }),
    close: () => command("conversation.close", { type: "conversation.close", conversation_id: id }),
    stop() {
      const { live } = get().state;
      if (live) command("turn.stop", { type: "turn.stop", conversation_id: id, turn_id: live.turn_id });
    },
    approve: (call_id, approved) => command("tool.approve", { type: "tool.approve", conversation_id: id, call_id, approved }),
    dismiss: (name) => held.set(setCommand(get(), name, null)),
    typing(on) {
      const now = Date.now();
      if (on ? now - typed < TYPES : !typed) return;
      typed = on ? now : 0;
      around.send({ type: "typing.set", conversation_id: id, on });
    },
    older() {
      asking ??= fetchOlder().finally(() => (asking = null));
      return asking;
    },
  };
}
