import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { FakeSocket } from "../../../widget-src/core/fake_socket.ts";
import { createOperatorSession, type About, type OperatorSession, type Watcher } from "./operator_session.ts";

const WELCOME = { type: "welcome", v: 1, operator: { id: 7, name: "Olga" }, role: "operator", heartbeat_s: 25, limits: {}, watches: 50 };

let made: FakeSocket[];
let tickets: { give(ticket: string): void; refuse(refusal: object): void }[];
let events: string[];

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  made = [];
  tickets = [];
  events = [];
});

const last = () => made[made.length - 1]!;
const settled = async () => {
  for (let i = 0; i < 4; i++) await null;
};

function open(): OperatorSession {
  const session = createOperatorSession({
    url: "ws://desk/api/v1/admin/ws",
    ticket: () => new Promise((give, refuse) => tickets.push({ give, refuse })),
    on: {
      link: (link, code) => events.push(code ? `${link} ${code}` : link),
      welcome: () => events.push("welcome"),
      lost: () => events.push("lost"),
      answered: (frame) => events.push(`answered ${frame.type}`),
      inbox: (frame) => events.push(frame.type),
      error: (frame) => events.push(`error ${frame.code}`),
      signedOut: () => events.push("signed out"),
    },
    makeSocket() {
      made.push(new FakeSocket());
      return last();
    },
    random: () => 0.5,
  });
  session.start();
  return session;
}

/** Comes through: ticket, hello, welcome. */
async function greet(): Promise<void> {
  last().open();
  tickets.pop()!.give("tk_1");
  await settled();
  last().say(WELCOME);
}

class Reader implements Watcher {
  readonly id: string;
  seq = 0;
  reads = false;
  heard: About[] = [];
  heads: number[] = [];

  constructor(id: string) {
    this.id = id;
  }

  hello() {
    return { type: "conversation.watch" as const, conversation_id: this.id, epoch: "e1", last_seq: this.seq };
  }

  receive(frame: About) {
    this.heard.push(frame);
  }

  head(seq: number) {
    this.heads.push(seq);
  }

  busy() {
    return this.reads;
  }
}

test("it says hello with a ticket of its own, then asks for the inbox and for what is watched", async () => {
  const session = open();
  session.watch("cnv_a", new Reader("cnv_a"));
  assert.deepEqual(last().frames(), [], "nothing is said before the handshake");
  await greet();
  assert.deepEqual(last().frames(), [
    { type: "hello", v: 1, ticket: "tk_1" },
    { type: "inbox.watch" },
    { type: "conversation.watch", conversation_id: "cnv_a", epoch: "e1", last_seq: 0 },
  ]);
  assert.deepEqual(events, ["connecting", "online", "welcome"]);
});

test("after a loss it comes back with another ticket and asks from where each watcher stands", async () => {
  const session = open();
  const reader = new Reader("cnv_a");
  session.watch("cnv_a", reader);
  await greet();
  reader.seq = 12;
  last().drop(1006);
  assert.equal(session.send({ type: "inbox.watch" }), false);
  mock.timers.tick(250);
  await greet();
  assert.equal(made.length, 2);
  assert.deepEqual(last().frames().pop(), { type: "conversation.watch", conversation_id: "cnv_a", epoch: "e1", last_seq: 12 });
  assert.deepEqual(events, ["connecting", "online", "welcome", "lost", "waiting", "online", "welcome"]);
});

test("a ticket that comes after its link was lost opens no other", async () => {
  open();
  last().open();
  last().drop(1006);
  mock.timers.tick(250);
  last().open();
  tickets[0]!.give("tk_old");
  await settled();
  assert.deepEqual(last().frames(), []);
  tickets[1]!.give("tk_new");
  await settled();
  assert.deepEqual(last().frames(), [{ type: "hello", v: 1, ticket: "tk_new" }]);
});

test("who is signed out is told so and is not tried again; after signing in it starts anew", async () => {
  const session = open();
  last().open();
  tickets.pop()!.refuse({ status: 401 });
  await settled();
  mock.timers.tick(60_000);
  assert.deepEqual(events, ["connecting", "idle", "signed out"]);
  assert.equal(made.length, 1);
  assert.ok(last().closed);
  session.start();
  await greet();
  assert.equal(session.link(), "online");
});

test("a ticket that cannot be had for the moment is asked for again when the server says", async () => {
  open();
  last().open();
  tickets.pop()!.refuse({ status: 503, retry_after_ms: 3000 });
  await settled();
  mock.timers.tick(2999);
  assert.equal(made.length, 1);
  mock.timers.tick(1);
  assert.equal(made.length, 2);
});

test("a refused ticket is replaced once; refused again it is over until somebody asks", async () => {
  const session = open();
  for (const _ of [1, 2]) {
    last().open();
    tickets.pop()!.give("tk");
    await settled();
    last().drop(4401);
  }
  mock.timers.tick(60_000);
  assert.equal(made.length, 2);
  assert.deepEqual(events, ["connecting", "waiting", "ended 4401"]);
  session.start();
  await greet();
  assert.equal(session.link(), "online");
});

test("any other final code ends it at once", async () => {
  open();
  await greet();
  last().drop(4426);
  mock.timers.tick(60_000);
  assert.equal(made.length, 1);
  assert.deepEqual(events.slice(-2), ["lost", "ended 4426"]);
});

test("too many hellos: it waits as long as the server says", async () => {
  open();
  last().open();
  tickets.pop()!.give("tk");
  await settled();
  last().say({ type: "error", code: "rate_limited", message: "too many", temporary: true, retry_after_ms: 9000 });
  last().drop(4029);
  mock.timers.tick(8999);
  assert.equal(made.length, 1);
  mock.timers.tick(1);
  assert.equal(made.length, 2);
  assert.ok(events.includes("error rate_limited"));
});

test("a draining server is heard until the answer that somebody reads has ended, then another one is found", async () => {
  const session = open();
  const reader = new Reader("cnv_a");
  reader.reads = true;
  session.watch("cnv_a", reader);
  await greet();
  last().say({ type: "drain", retry_after_ms: 700 });
  assert.equal(session.link(), "online");
  reader.reads = false;
  last().say({ type: "conversation.frame", conversation_id: "cnv_a", frame: { type: "turn.failed", seq: 1 } });
  assert.equal(session.link(), "waiting");
  mock.timers.tick(699);
  assert.equal(made.length, 1);
  mock.timers.tick(1);
  assert.equal(made.length, 2);
});

test("frames go to whom they are about; answers about what is not watched are told too, and nothing else is", async () => {
  const session = open();
  const reader = new Reader("cnv_a");
  session.watch("cnv_a", reader);
  await greet();
  events = [];
  last().say({ type: "presence", conversation_id: "cnv_a", operators: [] });
  last().say({ type: "error", conversation_id: "cnv_a", command: "conversation.take", code: "taken", message: "Ana has it", temporary: false });
  last().say({ type: "presence", conversation_id: "cnv_b", operators: [] });
  last().say({ type: "command.done", conversation_id: "cnv_b", command: "conversation.release" });
  last().say({ type: "inbox.updated", rows: [] });
  last().say({ type: "something.new", conversation_id: "cnv_b" });
  assert.deepEqual(reader.heard.map((frame) => frame.type), ["presence", "error"]);
  assert.deepEqual(events, ["answered command.done", "inbox.updated"]);
});

test("it pings every heartbeat, and watchers learn the heads of their conversations", async () => {
  const session = open();
  const reader = new Reader("cnv_a");
  session.watch("cnv_a", reader);
  await greet();
  mock.timers.tick(25_000);
  assert.equal(last().frames().pop()?.type, "ping");
  last().say({ type: "pong", t: 1, heads: { cnv_a: 31, cnv_b: 4 } });
  last().say({ type: "pong", t: 1 });
  assert.deepEqual(reader.heads, [31]);
});

test("what is let go is told to the server, and asked for no more", async () => {
  const session = open();
  session.watch("cnv_a", new Reader("cnv_a"));
  await greet();
  session.unwatch("cnv_a");
  session.unwatch("cnv_a");
  session.again("cnv_a");
  assert.deepEqual(last().frames().slice(-1), [{ type: "conversation.unwatch", conversation_id: "cnv_a" }]);
});

test("a frame that is no JSON is told to the browser's console and costs nothing else", async (t) => {
  const warned = t.mock.method(console, "warn", () => undefined);
  const session = open();
  await greet();
  last().onmessage?.call(last() as unknown as WebSocket, new MessageEvent("message", { data: "{" }));
  assert.equal(warned.mock.callCount(), 1);
  assert.equal(session.link(), "online");
});
