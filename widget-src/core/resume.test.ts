/**
 * A visitor whose link is cut anywhere, again and again, who is told things twice and comes back in any state, sees in
 * the end what somebody sees who comes for the first time. The server here is a model of `server/recovery.py`.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { DurableToVisitor, LiveAnswer, Message, Snapshot, ToolState, ToVisitor } from "./protocol.gen.ts";
import { EMPTY, receive, type State } from "./reducer.ts";

const NOW = 1_700_000_000_000;
const AT = "2026-01-01T10:00:00Z";
/** More than that is not replayed: the visitor gets a snapshot. */
const REPLAY = 6;

/** Numbers from a seed (mulberry32), so that a failure can be seen again. */
function numbers(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) % 1_000_000) % below;
  };
}

type Random = ReturnType<typeof numbers>;
/** A durable frame that has no number yet. */
type Unnumbered = DurableToVisitor extends infer F ? (F extends DurableToVisitor ? Omit<F, "seq"> : never) : never;

/** One conversation as the server knows it. */
class Server {
  journal: DurableToVisitor[] = [];
  messages: Message[] = [];
  live: (LiveAnswer & { tools: ToolState[] }) | null = null;
  owner: Snapshot["owner"] = "ai";
  #ids = 0;
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  #id = (kind: string) => `${kind}_${++this.#ids}`;

  #write(frame: Unnumbered): ToVisitor[] {
    const numbered = { ...frame, seq: this.journal.length + 1 } as DurableToVisitor;
    this.journal.push(numbered);
    return [numbered];
  }

  #say(role: Message["role"], text: string, more: Partial<Message> = {}): Message {
    const message: Message = { id: this.#id("msg"), role, text, created_at: AT, ...more };
    this.messages.push(message);
    return message;
  }

  /** Something happens; what is published of it. */
  step(): ToVisitor[] {
    return this.live ? this.#within(this.live) : this.#between();
  }

  #between(): ToVisitor[] {
    switch (this.random(6)) {
      case 0:
        return this.#write({ type: "message.created", message: this.#say("operator", "I am here") });
      case 1: {
        const answer = this.messages.filter((m) => m.role === "assistant").pop();
        if (!answer) return [];
        answer.rating = this.random(2) ? "up" : "down";
        return this.#write({ type: "feedback.recorded", message_id: answer.id, rating: answer.rating });
      }
      default: {
        const asked = this.#write({ type: "message.created", message: this.#say("user", "Hello?", { cid: this.#id("cid") }) });
        this.live = { turn_id: this.#id("trn"), message_id: this.#id("ans"), gen: 1, n: 0, text: "", tools: [] };
        const { turn_id, message_id } = this.live;
        return [...asked, ...this.#write({ type: "turn.started", turn_id, message_id, gen: 1 })];
      }
    }
  }

  #within(live: NonNullable<Server["live"]>): ToVisitor[] {
    const { turn_id, message_id } = live;
    const open = live.tools.find((t) => t.state === "running" || t.state === "confirm");
    switch (this.random(14)) {
      case 0:
        live.gen++;
        live.n = 0;
        live.text = "";
        live.tools = live.tools.filter((t) => t.state === "done" || t.state === "failed");
        return [{ type: "turn.reset", turn_id, gen: live.gen }];
      case 1:
      case 2: {
        const call_id = this.#id("call");
        live.tools.push({ call_id, label: "Looking", state: "running" });
        return this.#write({ type: "tool.started", turn_id, call_id, name: "look", label: "Looking" });
      }
      case 3: {
        const call_id = this.#id("call");
        live.tools.push({ call_id, label: "Booking", state: "confirm", text: "Day: Friday" });
        return [{ type: "tool.confirm_request", turn_id, call_id, label: "Booking", expires_at: AT, text: "Day: Friday" }];
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
        return [{ type: "tool.progress", turn_id, call_id: open.call_id, text: open.text }];
      }
      case 8: {
        const text = live.text || "Fine.";
        this.live = null;
        switch (this.random(4)) {
          case 0:
            return this.#write({ type: "turn.failed", turn_id, code: "model_busy", message: "Sorry", retryable: true });
          case 1: {
            const message = this.#say("assistant", text, { id: message_id, turn_id, stopped: true });
            return this.#write({ type: "turn.stopped", turn_id, message });
          }
          default: {
            const message = this.#say("assistant", text, { id: message_id, turn_id });
            return this.#write({ type: "message.completed", turn_id, message });
          }
        }
      }
      default: {
        live.n++;
        const text = `${live.gen}:${live.n} `;
        live.text += text;
        return [{ type: "message.delta", turn_id, message_id, gen: live.gen, n: live.n, text }];
      }
    }
  }

  /** What is sent to somebody who says hello: everything that was missed, or a whole snapshot. */
  hello(epoch: string | null, seq: number): ToVisitor[] {
    const resumed = epoch === "e" && seq >= 0 && this.journal.length - seq <= REPLAY;
    const live = this.live && structuredClone(this.live);
    const state = { type: "snapshot" as const, up_to_seq: this.journal.length, owner: this.owner, live: live ?? undefined };
    return structuredClone([
      {
        type: "welcome", v: 1, session: { id: "s", token: "x" }, conversation_id: "c", epoch: "e", resumed, pending: {}, heartbeat_s: 25,
        head_seq: this.journal.length, limits: { message_characters: 5000, frame_bytes: 65536 },
      },
      ...(resumed ? this.journal.slice(seq) : []),
      ...(resumed && !live ? [] : [resumed ? state : { ...state, messages: this.messages }]),
    ] as ToVisitor[]);
  }
}

/** What of a state everybody must see the same. A page keeps the steps of answers that it saw being made. */
function seen({ seq, gap, messages, live, owner, waiting }: State) {
  return {
    seq,
    gap,
    owner,
    waiting,
    messages: messages.map(({ id, role, text, rating, stopped }) => ({ id, role, text, rating, stopped: !!stopped })),
    live: live && {
      turn_id: live.turn_id,
      gen: live.gen,
      n: live.n,
      text: live.text,
      tools: (live.tools ?? []).map(({ call_id, label, state, text }) => ({ call_id, label, state, text })),
    },
  };
}

/** One life of a visitor's tab: the link is cut `cuts` times, anywhere. */
function live(seed: number, steps: number): void {
  const random = numbers(seed);
  const server = new Server(random);
  let state = EMPTY;
  let wire: ToVisitor[] | null = null;
  const told: ToVisitor[] = [];
  const take = (frame: ToVisitor) => {
    told.push(frame);
    state = receive(state, structuredClone(frame), NOW);
    // Whoever holds the state says hello again.
    if (state.gap) wire = server.hello(state.epoch, state.seq);
  };
  for (let step = 0; step < steps; step++) {
    switch (random(8)) {
      case 0:
        wire = null;
        break;
      case 1:
        wire ??= server.hello(state.epoch, state.seq);
        break;
      case 2:
        // Told once more, by a journal that was read while the hub delivered.
        if (wire && state.seq >= 0) {
          const again = told[random(told.length)]!;
          if ("seq" in again || again.type === "message.delta") wire.unshift(again);
        }
        break;
      case 3:
      case 4:
        for (let some = random(6); wire?.length && some >= 0; some--) take(wire.shift()!);
        break;
      default: {
        const happened = server.step();
        wire?.push(...structuredClone(happened));
      }
    }
  }
  wire ??= server.hello(state.epoch, state.seq);
  while (wire.length) take(wire.shift()!);
  const fresh = server.hello(null, -1).reduce((s, f) => receive(s, f, NOW), EMPTY);
  assert.deepEqual(seen(state), seen(fresh), `seed ${seed}`);
}

test("any cut, any duplicate, any order of reconnects ends as a fresh snapshot does", () => {
  for (let seed = 1; seed <= 3_000; seed++) live(seed, 30 + (seed % 120));
});
