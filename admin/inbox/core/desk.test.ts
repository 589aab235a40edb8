import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { FakeSocket } from "../../../widget-src/core/fake_socket.ts";
import { createDesk, type Desk } from "./desk.ts";

const START = Date.parse("2026-01-01T10:00:00Z");

let desk: Desk;
let socket: FakeSocket;
let waits: string[];

const settled = async () => {
  for (let i = 0; i < 4; i++) await null;
};

/** Rows in which something has happened just now. */
const row = (id: string, more: object = {}) => ({
  conversation_id: id,
  client_id: 1,
  seq: 1,
  owner: "ai",
  last_activity_at: new Date(Date.now()).toISOString(),
  preview: "Hello",
  ...more,
});
const update = (...rows: object[]) => socket.say({ type: "inbox.updated", rows });

/** What is watched, as the server would count it: by conversation, whether as a glance. */
function watched(): Record<string, boolean> {
  const now: Record<string, boolean> = {};
  for (const frame of socket.frames() as { type: string; conversation_id: string; glance: boolean }[]) {
    if (frame.type === "conversation.watch") now[frame.conversation_id] = frame.glance;
    if (frame.type === "conversation.unwatch") delete now[frame.conversation_id];
  }
  return now;
}

beforeEach(async () => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: START });
  waits = [];
  desk = createDesk({
    url: "ws://desk",
    ticket: () => Promise.resolve("tk"),
    readPage: () => new Promise(() => undefined),
    readOlder: () => Promise.resolve({ messages: [], before: null }),
    signedOut: () => undefined,
    waits: (each) => waits.push(each.conversation_id),
    later: (run) => run(),
    makeSocket: () => (socket = new FakeSocket()),
    random: () => 0,
  });
  desk.start();
  socket.open();
  await settled();
  socket.say({ type: "welcome", v: 1, operator: { id: 7, name: "Olga" }, role: "operator", heartbeat_s: 25, limits: {}, watches: 8 });
});

test("the open conversation is watched whole, and let go when another is opened", () => {
  desk.open("a");
  assert.deepEqual(watched(), { a: false });
  desk.open("b");
  assert.deepEqual(watched(), { b: false });
  desk.open(null);
  assert.deepEqual(watched(), {});
});

test("rows in sight are glanced at while something happens in them", () => {
  update(row("a"), row("b", { owner: "closed" }), row("c", { last_activity_at: new Date(START - 20 * 60_000).toISOString() }));
  desk.glance(["a", "b", "c", "unknown"]);
  assert.deepEqual(watched(), { a: true });
  update(row("c", { seq: 2 }));
  assert.deepEqual(watched(), { a: true, c: true });
});

test("what was glanced at stays until its place is needed, the oldest first; the limit holds", () => {
  update(...["a", "b", "c", "d", "e", "f"].map((id) => row(id)));
  desk.glance(["a", "b", "c"]);
  desk.glance(["d"]);
  assert.deepEqual(Object.keys(watched()), ["a", "b", "c", "d"]);
  desk.glance(["e", "f"]);
  assert.deepEqual(Object.keys(watched()), ["c", "d", "e", "f"]);
  desk.glance(["a", "b", "c", "d", "e", "f"]);
  assert.equal(Object.keys(watched()).length, 4);
});

test("a glance that is opened becomes a whole watch, and a glance again when one goes on", () => {
  update(row("a"));
  desk.glance(["a"]);
  desk.open("a");
  assert.deepEqual(watched(), { a: false });
  desk.open("b");
  assert.deepEqual(watched(), { a: true, b: false });
});

test("one's own conversations are watched whole while they are in sight, also when another is open", () => {
  update(row("a", { owner: "human", operator: { id: 7, name: "Olga" } }), row("b", { owner: "human", operator: { id: 8, name: "Ana" } }));
  desk.glance(["a", "b"]);
  assert.deepEqual(watched(), { a: false, b: true });
  desk.open("c");
  desk.glance([]);
  assert.deepEqual(watched(), { a: false, b: true, c: false });
});

test("a conversation stays watched until what one said in it is stored", () => {
  desk.open("a");
  desk.conversation("a").reply("Hello");
  const { cid } = desk.conversation("a").talk.get().state.outbox[0]!;
  desk.open("b");
  assert.deepEqual(watched(), { a: false, b: false });
  socket.say({ type: "ack", conversation_id: "a", cid, message_id: "m", seq: 2 });
  desk.open("c");
  assert.deepEqual(watched(), { c: false });
});

test("a visitor who waits is told of, unless another operator has them", () => {
  const waiting_since = new Date(START + 1000).toISOString();
  update(row("known"));
  update(row("a", { owner: "queued", waiting_since }));
  update(row("b", { owner: "human", operator: { id: 8, name: "Ana" }, waiting_since }));
  update(row("c", { owner: "human", operator: { id: 7, name: "Olga" }, waiting_since }));
  assert.deepEqual(waits, ["a", "c"]);
});
