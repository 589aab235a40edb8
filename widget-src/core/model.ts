/**
 * A server in memory, for tests of what stands on the widget's side of the wire: one conversation with its journal, its running
 * answer and what is read of them for somebody who says hello. It follows `server/journal.py` and `server/recovery.py`.
 */

import type { DurableToVisitor, LiveAnswer, Message, Snapshot, ToolState, ToVisitor } from "./protocol.gen.ts";

export const AT = "2026-01-01T10:00:00Z";
/** More events than that are not replayed: the visitor gets a snapshot. */
const REPLAY = 12;

/** Numbers from a seed (mulberry32), so that a failure can be seen again. */
export function numbers(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) % 1_000_000) % below;
  };
}

export type Random = ReturnType<typeof numbers>;
/** A durable frame that has no number yet. */
type Unnumbered = DurableToVisitor extends infer F ? (F extends DurableToVisitor ? Omit<F, "seq"> : never) : never;
type Running = LiveAnswer & { tools: ToolState[] };

/** What is read for one hello. Without `resumed`, the snapshot is everything. */
export interface Recovery {
  resumed: boolean;
  events: DurableToVisitor[];
  snapshot: Snapshot | null;
  upTo: number;
}

/** One conversation as the server knows it. `published` hears each frame after it is written. */
export class Conversation {
  journal: DurableToVisitor[] = [];
  messages: (Message & { seq: number })[] = [];
  live: Running | null = null;
  owner: Snapshot["owner"] = "ai";
  epoch = "e1";
  published: (frame: ToVisitor) => void = () => undefined;
  /** Whether a turn may be taken over now: that comes a second after its owner's last word, and a reading takes milliseconds. */
  mayReset = () => true;
  readonly random: Random;
  #ids = 0;
  #waiting = 0;

  constructor(random: Random) {
    this.random = random;
  }

  #id = (kind: string) => `${kind}_${++this.#ids}`;

  #publish(frame: ToVisitor): ToVisitor[] {
    this.published(structuredClone(frame));
    return [frame];
  }

  #write(frame: Unnumbered): ToVisitor[] {
    const numbered = { ...frame, seq: this.journal.length + 1 } as DurableToVisitor;
    this.journal.push(structuredClone(numbered));
    return this.#publish(numbered);
  }

  #say(role: Message["role"], text: string, more: Partial<Message> = {}): Message {
    const message: Message = { id: this.#id("msg"), role, text, created_at: AT, ...more };
    this.messages.push({ ...message, seq: this.journal.length + 1 });
    return message;
  }

  /** A visitor's message, stored once for its cid; a turn for it begins, or waits. */
  post(cid: string, text: string): { message: Message & { seq: number }; frames: ToVisitor[] } {
    const known = this.messages.find((m) => m.cid === cid);
    if (known) return { message: known, frames: [] };
    const frames = this.#write({ type: "message.created", message: this.#say("user", text, { cid }) });
    const message = this.messages[this.messages.length - 1]!;
    this.#waiting++;
    return { message, frames: [...frames, ...this.#next()] };
  }

  /** An operator's message, stored once for its cid. */
  reply(cid: string, text: string): Message & { seq: number } {
    const known = this.messages.find((m) => m.cid === cid);
    if (known) return known;
    this.#write({ type: "message.created", message: this.#say("operator", text, { cid }) });
    return this.messages[this.messages.length - 1]!;
  }

  #next(): ToVisitor[] {
    if (this.live || !this.#waiting) return [];
    this.#waiting--;
    this.live = { turn_id: this.#id("trn"), message_id: this.#id("ans"), gen: 1, n: 0, text: "", tools: [] };
    const { turn_id, message_id } = this.live;
    return this.#write({ type: "turn.started", turn_id, message_id, gen: 1 });
  }

  /** Something happens; what is published of it. */
  step(): ToVisitor[] {
    return this.live ? this.#within(this.live) : this.#between();
  }

  #between(): ToVisitor[] {
    switch (this.random(7)) {
      case 0:
        return this.#write({ type: "message.created", message: this.#say("operator", "I am here") });
      case 1: {
        const answer = this.messages.filter((m) => m.role === "assistant").pop();
        if (!answer) return [];
        answer.rating = this.random(2) ? "up" : "down";
        return this.#write({ type: "feedback.recorded", message_id: answer.id, rating: answer.rating });
      }
      case 2:
        this.owner = this.owner === "ai" ? "human" : "ai";
        return this.#write({ type: "owner.changed", owner: this.owner });
      default:
        return this.post(this.#id("cid"), "Hello?").frames;
    }
  }

  #within(live: Running): ToVisitor[] {
    const { turn_id, message_id } = live;
    const open = live.tools.find((t) => t.state === "running" || t.state === "confirm");
    switch (this.random(14)) {
      case 0:
        if (!this.mayReset()) return [];
        live.gen++;
        live.n = 0;
        live.text = "";
        live.tools = live.tools.filter((t) => t.state === "done" || t.state === "failed");
        return this.#publish({ type: "turn.reset", turn_id, gen: live.gen });
      case 1:
      case 2: {
        const call_id = this.#id("call");
        live.tools.push({ call_id, label: "Looking", state: "running" });
        return this.#write({ type: "tool.started", turn_id, call_id, name: "look", label: "Looking" });
      }
      case 3: {
        const call_id = this.#id("call");
        live.tools.push({ call_id, label: "Booking", state: "confirm", text: "Day: Friday" });
        return this.#publish({ type: "tool.confirm_request", turn_id, call_id, label: "Booking", expires_at: AT, text: "Day: Friday" });
      }
      case 4:
      case 5:
      case 6: {
        if (!open) return [];
        const { call_id, label } = open;
        if (open.state === "confirm" && this.random(2)) {
          open.state = "running";
          return this.#write({ type: "tool.started", turn_id, call_id, name: "book", label });
        }
        const ok = this.random(3) > 0;
        open.state = ok ? "done" : "failed";
        open.text = ok ? undefined : "It did not work";
        return this.#write({ type: "tool.finished", turn_id, call_id, ok, ms: 5, summary: open.text });
      }
      case 7: {
        if (open?.state !== "running") return [];
        open.text = "Half way";
        return this.#publish({ type: "tool.progress", turn_id, call_id: open.call_id, text: open.text });
      }
      case 8:
        return this.#end(live);
      default: {
        live.n++;
        const text = `${live.gen}:${live.n} `;
        live.text += text;
        return this.#publish({ type: "message.delta", turn_id, message_id, gen: live.gen, n: live.n, text });
      }
    }
  }

  #end({ turn_id, message_id, text: said }: Running): ToVisitor[] {
    this.live = null;
    const text = said || "Fine.";
    const more = { id: message_id, turn_id };
    let frames: ToVisitor[];
    switch (this.random(4)) {
      case 0:
        frames = this.#write({ type: "turn.failed", turn_id, code: "model_busy", message: "Sorry", retryable: true });
        break;
      case 1:
        frames = this.#write({ type: "turn.stopped", turn_id, message: this.#say("assistant", text, { ...more, stopped: true }) });
        break;
      default:
        frames = this.#write({ type: "message.completed", turn_id, message: this.#say("assistant", text, more) });
    }
    return [...frames, ...this.#next()];
  }

  /** The conversation begins another life: what was numbered before means nothing any more. */
  restore(): void {
    this.epoch = "e" + (Number(this.epoch.slice(1)) + 1);
    // A backup: some of the end is missing.
    const kept = Math.max(0, this.journal.length - this.random(5));
    this.journal.length = kept;
    this.messages = this.messages.filter((m) => m.seq <= kept);
    this.live = null;
    this.#waiting = 0;
  }

  // --- what a reader is told, in the order in which the server reads it

  readLive(): LiveAnswer | null {
    if (!this.live) return null;
    const { tools, ...live } = structuredClone(this.live);
    return tools.length ? { ...live, tools } : live; // what is empty is left out on the wire
  }

  /** Events after a seq; null where they are too many, or the seq was never given out. */
  replay(epoch: string | null, seq: number | null): DurableToVisitor[] | null {
    if (epoch !== this.epoch || seq == null || seq < 0 || seq > this.journal.length || this.journal.length - seq > REPLAY) return null;
    return structuredClone(this.journal.slice(seq));
  }

  /** Messages up to a seq, without their numbers. */
  page(upTo: number): Message[] {
    return this.messages.filter((m) => m.seq <= upTo).map(({ seq: _, ...message }) => structuredClone(message));
  }

  stored(cid: string): number | null {
    return this.messages.find((m) => m.cid === cid)?.seq ?? null;
  }

  /** The same in one go: nothing happens while it is read. */
  recover(epoch: string | null, seq: number | null): Recovery {
    const live = this.readLive();
    const events = this.replay(epoch, seq);
    const upTo = this.journal.length;
    const state = { type: "snapshot" as const, up_to_seq: upTo, owner: this.owner, live: live ?? undefined };
    if (events) return { resumed: true, events, snapshot: live && state, upTo };
    return { resumed: false, events: [], snapshot: { ...state, messages: this.page(upTo) }, upTo };
  }

  welcome({ resumed, upTo }: Pick<Recovery, "resumed" | "upTo">, cids: string[]): ToVisitor {
    return {
      type: "welcome",
      v: 1,
      session: { id: "s", token: "x" },
      conversation_id: "c",
      epoch: this.epoch,
      resumed,
      pending: Object.fromEntries(cids.map((cid) => [cid, this.stored(cid)])),
      heartbeat_s: 25,
      head_seq: upTo,
      limits: { message_characters: 5000, frame_bytes: 65536 },
    };
  }

  /** What is sent to somebody who says hello: everything that was missed, or a whole snapshot. */
  hello(epoch: string | null, seq: number | null): ToVisitor[] {
    const recovery = this.recover(epoch, seq);
    return [this.welcome(recovery, []), ...recovery.events, ...(recovery.snapshot ? [recovery.snapshot] : [])];
  }
}
