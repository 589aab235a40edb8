import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import type { DurableToVisitor, Message, ToVisitor } from "./protocol.gen.ts";
import { decided, discard, draft, EMPTY, looking, prepend, rate, receive, type State } from "./reducer.ts";

const NOW = 1_700_000_000_000;
const AT = "2026-01-01T10:00:00Z";

function say(id: string, role: Message["role"] = "assistant", text = id, cid?: string): Message {
  return { id, role, text, created_at: AT, cid };
}

function run(frames: ToVisitor[], from: State = EMPTY): State {
  return frames.reduce((s, f) => receive(s, f, NOW), from);
}

const snapshot = (messages: Message[], up_to_seq: number): ToVisitor => ({ type: "snapshot", up_to_seq, owner: "ai", messages });
const delta = (n: number, text: string, gen = 1): ToVisitor => ({ type: "message.delta", turn_id: "t", message_id: "a", gen, n, text });
const started = (seq: number, gen = 1): ToVisitor => ({ type: "turn.started", seq, turn_id: "t", message_id: "a", gen });
const welcome = (resumed: boolean, pending: Record<string, number | null> = {}): ToVisitor => ({
  type: "welcome", v: 1, session: { id: "s", token: "x" }, conversation_id: "c", epoch: "e", head_seq: 0, resumed, pending, heartbeat_s: 25,
  limits: { message_characters: 5000, frame_bytes: 65536 },
});

test("a durable frame counts once, an older one is ignored, a later one is a gap", () => {
  const one: ToVisitor = { type: "message.created", seq: 1, message: say("m1", "user") };
  const s = run([snapshot([], 0), one]);
  assert.equal(s.messages.length, 1);
  assert.equal(receive(s, one, NOW), s);
  const gap = receive(s, { type: "message.created", seq: 3, message: say("m3") }, NOW);
  assert.equal(gap.gap, true);
  assert.equal(gap.messages.length, 1);
  assert.equal(receive(gap, { type: "message.created", seq: 2, message: say("m2") }, NOW), gap, "nothing counts before the next welcome");
  assert.equal(receive(gap, welcome(true), NOW).gap, false);
});

test("a durable frame of an unknown type takes its number, an unknown live one changes nothing", () => {
  const strange = (extra: object) => ({ type: "from.the.future", ...extra }) as unknown as ToVisitor;
  const s = run([snapshot([], 4), strange({ seq: 5 })]);
  assert.equal(s.seq, 5);
  assert.deepEqual(receive(s, strange({}), NOW), s);
});

for (const [name, frames, text, gap] of [
  ["in order", [delta(1, "a"), delta(2, "b")], "ab", false],
  ["twice", [delta(1, "a"), delta(1, "a"), delta(2, "b"), delta(1, "a")], "ab", false],
  ["with a hole", [delta(1, "a"), delta(3, "c")], "a", true],
  ["of a newer gen", [delta(1, "old"), delta(1, "new", 2), delta(2, "old")], "new", false],
  ["after a reset", [delta(1, "old"), { type: "turn.reset", turn_id: "t", gen: 2 }, delta(2, "old"), delta(1, "new", 2)], "new", false],
  ["of a newer gen with a hole", [delta(1, "old"), delta(2, "new", 2)], "old", true],
  ["of another turn", [{ ...delta(1, "x"), turn_id: "other" } as ToVisitor], "", false],
] as [string, ToVisitor[], string, boolean][]) {
  test("deltas " + name, () => {
    const s = run([snapshot([], 0), started(1), ...frames]);
    assert.equal(s.live?.text, text);
    assert.equal(s.gap, gap);
  });
}

test("the completed message replaces what was streamed and keeps finished steps", () => {
  const s = run([
    snapshot([], 0), started(1),
    { type: "tool.started", seq: 2, turn_id: "t", call_id: "c", name: "n", label: "Looking" },
    { type: "tool.progress", turn_id: "t", call_id: "c", text: "half" },
    { type: "tool.finished", seq: 3, turn_id: "t", call_id: "c", ok: true, ms: 5, summary: "found" },
    delta(1, "strea"),
    { type: "message.completed", seq: 4, turn_id: "t", message: say("a", "assistant", "whole") },
  ]);
  assert.equal(s.live, null);
  assert.equal(s.messages[0]?.text, "whole");
  assert.deepEqual(s.messages[0]?.tools, [{ call_id: "c", label: "Looking", state: "done", text: "found" }]);
});

test("a stopped turn keeps what was said, or nothing", () => {
  const kept = run([snapshot([], 0), started(1), { type: "turn.stopped", seq: 2, turn_id: "t", message: say("a") }]);
  assert.equal(kept.messages[0]?.stopped, true);
  const none = run([snapshot([], 0), started(1), { type: "turn.stopped", seq: 2, turn_id: "t" }]);
  assert.deepEqual([none.messages, none.live], [[], null]);
});

test("a failed turn says so until something is said again", () => {
  const s = run([snapshot([], 0), started(1), { type: "turn.failed", seq: 2, turn_id: "t", code: "x", message: "Sorry", retryable: true }]);
  assert.deepEqual(s.failed, { text: "Sorry", retryable: true });
  assert.equal(draft(s, "c", "again", NOW).failed, null);
});

test("a draft becomes the stored message with its cid, whichever of ack and frame comes first", () => {
  const ack: ToVisitor = { type: "ack", cid: "c1", message_id: "m1", seq: 1 };
  const created: ToVisitor = { type: "message.created", seq: 1, message: say("m1", "user", "hi", "c1") };
  for (const order of [[ack, created], [created, ack]]) {
    const s = run(order, draft(run([snapshot([], 0)]), "c1", "hi", NOW));
    assert.deepEqual([s.outbox, s.messages.length, s.waiting], [[], 1, true]);
  }
});

test("a refused draft stays as failed, with the time until the next one", () => {
  const s = run([{ type: "nack", cid: "c1", code: "rate_limited", message: "Slow down", retry_after_ms: 5000 }], draft(EMPTY, "c1", "hi", NOW));
  assert.deepEqual(s.outbox, [{ cid: "c1", text: "hi", at: NOW, state: "failed", error: "Slow down" }]);
  assert.equal(s.limited, NOW + 5000);
  assert.deepEqual(discard(s, "c1").outbox, []);
});

test("what the welcome says is stored is not kept beside the snapshot's messages", () => {
  const s = draft(draft(EMPTY, "c1", "one", NOW), "c2", "two", NOW);
  const after = run([welcome(false, { c1: 7, c2: null }), snapshot([say("m1", "user", "one")], 7)], s);
  assert.deepEqual(after.outbox.map((d) => [d.cid, d.state]), [["c2", "sending"]]);
});

test("a resume without the missed frames is a gap, with them it is none", () => {
  const s = run([snapshot([], 2)]);
  const end: ToVisitor = { type: "snapshot", up_to_seq: 3, owner: "ai" };
  assert.equal(run([welcome(true), end], s).gap, true);
  assert.equal(run([welcome(true), { type: "message.created", seq: 3, message: say("m") }, end], s).gap, false);
});

test("a snapshot after a resume keeps the messages and the steps, and brings the text", () => {
  const s = run([
    snapshot([say("m1")], 1), started(2),
    { type: "tool.started", seq: 3, turn_id: "t", call_id: "c", name: "n", label: "Looking" },
    delta(1, "half"),
    welcome(true),
    { type: "snapshot", up_to_seq: 3, owner: "ai", live: { turn_id: "t", message_id: "a", gen: 1, n: 5, text: "half of it" } },
  ]);
  assert.deepEqual(s.messages.map((m) => m.id), ["m1"]);
  assert.deepEqual([s.gap, s.live?.n, s.live?.text, s.live?.tools?.map((t) => t.label)], [false, 5, "half of it", ["Looking"]]);
  const whole = run([{ type: "snapshot", up_to_seq: 9, owner: "ai", messages: [], live: { turn_id: "t", message_id: "a", gen: 1, n: 1, text: "x" } }], s);
  assert.equal(whole.live?.tools, undefined, "a whole snapshot says everything itself");
});

test("a trouble that passes is told to the visitor, another is the page builder's", () => {
  const trouble = (code: string, temporary: boolean) => run([{ type: "error", code, message: "text", temporary }]).error;
  assert.deepEqual([trouble("unavailable", true), trouble("internal", true), trouble("identity_unavailable", false)], ["text", "", null]);
});

test("unread counts what others say while nobody looks, and what came since the last look", () => {
  const s = run([snapshot([], 0), { type: "message.created", seq: 1, message: say("m1", "user") }, { type: "message.created", seq: 2, message: say("m2", "operator") }]);
  assert.equal(s.unread, 1);
  const seen = looking(s, true);
  assert.deepEqual([seen.unread, seen.seen], [0, "m2"]);
  const away = run([snapshot([say("m2", "operator"), say("m3"), say("m4", "user"), say("m5")], 9)], looking(seen, false));
  assert.equal(away.unread, 2);
});

test("the conversation changes hands with a notice, and nobody waits for the AI any more", () => {
  const s = run([snapshot([], 0), { type: "message.created", seq: 1, message: say("m", "user") }, { type: "owner.changed", seq: 2, owner: "human", operator: { name: "Anna" } }]);
  assert.deepEqual([s.owner, s.operator?.name, s.waiting, s.unread], ["human", "Anna", false, 0]);
  assert.equal(s.messages[1]?.owner, "human");
  assert.equal(run([{ type: "typing", who: "operator", on: true }], s).typing > NOW, true);
});

test("ratings, decisions and older pages", () => {
  const s = run([snapshot([say("m2")], 3)]);
  assert.equal(rate(s, "m2", "up").messages[0]?.rating, "up");
  assert.deepEqual(prepend(s, [say("m1"), say("m2")]).messages.map((m) => m.id), ["m1", "m2"]);
  const asks = run([started(4), { type: "tool.confirm_request", turn_id: "t", call_id: "c", label: "Sure?", expires_at: AT }], s);
  assert.deepEqual([asks.live?.tools?.[0]?.state, asks.live?.tools?.[0]?.expires], ["confirm", Date.parse(AT)]);
  assert.equal(decided(asks, "c").live?.tools?.[0]?.state, "running");
});

const GOLDEN = new URL("../../tests/protocol/golden/", import.meta.url);
const golden = readdirSync(GOLDEN).filter((name) => name.endsWith(".json"));

test("every golden frame is reduced, and leaves a state that the next one can be reduced on", () => {
  assert.ok(golden.length >= 20, "the golden samples are there");
  let s = run([snapshot([], 0), started(1)]);
  for (const name of golden) {
    const frame = JSON.parse(readFileSync(new URL(name, GOLDEN), "utf8")) as ToVisitor;
    assert.equal(typeof frame.type, "string", name);
    const next = receive({ ...s, seq: "seq" in frame ? frame.seq - 1 : s.seq, gap: false }, frame, NOW);
    if ("seq" in frame && frame.type !== "ack") assert.equal(next.seq, frame.seq, name);
    assert.ok(Array.isArray(next.messages) && Array.isArray(next.outbox), name);
    s = next;
  }
});

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A server that keeps events and the running answer as the protocol says, for one conversation. */
class Story {
  events: DurableToVisitor[] = [];
  all: ToVisitor[] = [];
  lives: { at: number; seq: number; live: { turn_id: string; message_id: string; gen: number; n: number; text: string } | null }[] = [];

  constructor(random: () => number) {
    for (let turn = 1; turn <= 4; turn++) {
      const turn_id = "t" + turn;
      const message_id = "a" + turn;
      this.durable({ type: "message.created", seq: 0, message: say("u" + turn, "user") });
      this.durable({ type: "turn.started", seq: 0, turn_id, message_id, gen: 1 });
      let live = { turn_id, message_id, gen: 1, n: 0, text: "" };
      const pieces = 1 + Math.floor(random() * 12);
      for (let i = 0; i < pieces; i++) {
        if (random() < 0.1) {
          live = { ...live, gen: live.gen + 1, n: 0, text: "" };
          this.live({ type: "turn.reset", turn_id, gen: live.gen }, live);
        }
        const text = String.fromCodePoint(0x61 + Math.floor(random() * 26), 0x1f600 + Math.floor(random() * 60)) + " ";
        live = { ...live, n: live.n + 1, text: live.text + text };
        this.live({ type: "message.delta", turn_id, message_id, gen: live.gen, n: live.n, text }, live);
      }
      this.durable({ type: "message.completed", seq: 0, turn_id, message: say(message_id, "assistant", live.text) });
    }
  }

  durable(frame: DurableToVisitor): void {
    const event = { ...frame, seq: this.events.length + 1 };
    this.events.push(event);
    const { turn_id, message_id } = event.type === "turn.started" ? event : { turn_id: "", message_id: "" };
    this.live(event, turn_id ? { turn_id, message_id, gen: 1, n: 0, text: "" } : null);
  }

  live(frame: ToVisitor, live: Story["lives"][number]["live"]): void {
    this.all.push(frame);
    this.lives.push({ at: this.all.length, seq: this.events.length, live });
  }

  /** What a hello brings when so many frames have been sent. */
  resume(sent: number, s: State): ToVisitor[] {
    const { seq, live } = this.lives[sent - 1] ?? { seq: 0, live: null };
    const missed = this.events.slice(0, seq).filter((e) => e.seq > s.seq);
    return [welcome(true), ...missed, { type: "snapshot", up_to_seq: seq, owner: "ai", live }];
  }
}

test("random losses, duplicates and reconnects end in the same text, to the byte", () => {
  let resumes = 0;
  for (let seed = 1; seed <= 200; seed++) {
    const random = generator(seed);
    const story = new Story(random);
    let s = run([snapshot([], 0)]);
    story.all.forEach((frame, i) => {
      if (random() < 0.12) return; // lost
      s = receive(s, frame, NOW);
      if (random() < 0.15) s = receive(s, story.all[Math.floor(random() * (i + 1))]!, NOW); // an older one once more
      if (s.gap || random() < 0.08) {
        s = run(story.resume(i + 1, s), s);
        resumes++;
        assert.equal(s.gap, false, `seed ${seed}`);
        const { live } = story.lives[i]!;
        assert.equal(s.live?.text ?? null, live?.text ?? null, `seed ${seed}: the running answer after a resume`);
      }
    });
    s = run(story.resume(story.all.length, s), s);
    const want = run([snapshot([], 0), ...story.all]);
    assert.deepEqual(s.messages.map((m) => [m.id, m.text]), want.messages.map((m) => [m.id, m.text]), `seed ${seed}`);
    assert.equal(s.live, null);
  }
  assert.ok(resumes > 400, "the losses were noticed");
});
