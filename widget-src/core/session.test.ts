import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { FakeSocket } from "./fake_socket.ts";
import { createSession, type Session } from "./session.ts";
import { openShelf, type Area } from "./storage.ts";

const KEY = "pk_test";

class Memory implements Area {
  data = new Map<string, string>();
  getItem(key: string) {
    return this.data.get(key) ?? null;
  }
  setItem(key: string, value: string) {
    this.data.set(key, value);
  }
}

let made: FakeSocket[];
let area: Memory;
let events: string[];
let calls: { url: string; init?: RequestInit }[];
let answers: (url: string, init?: RequestInit) => Response;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  made = [];
  area = new Memory();
  events = [];
  calls = [];
  answers = () => new Response(null, { status: 503 });
});

function open(): Session {
  return createSession({
    key: KEY,
    api: "http://desk",
    shelf: openShelf(KEY, () => area),
    locale: () => "en",
    page: () => "http://shop/",
    changed: () => undefined,
    emit: (event) => events.push(event),
    heard: () => undefined,
    makeSocket() {
      made.push(new FakeSocket());
      return made[made.length - 1]!;
    },
    fetch: (url, init) => {
      calls.push({ url, init });
      return Promise.resolve(answers(url, init));
    },
    random: () => 0,
  });
}

const last = () => made[made.length - 1]!;
const kept = () => openShelf(KEY, () => area).read();

function greet(change: object = {}, upTo = 0, messages: object[] | null = []) {
  last().open();
  last().say({ type: "welcome", session: { id: "ses_1", token: "st_1" }, epoch: "e1", head_seq: upTo, resumed: false, pending: {}, heartbeat_s: 25, ...change });
  last().say({ type: "snapshot", up_to_seq: upTo, owner: "ai", messages });
}

test("it says hello, keeps the session, and sends what was written before the welcome", () => {
  const session = open();
  session.send("hi");
  last().open();
  const [hello] = last().frames();
  assert.equal(hello?.type, "hello");
  assert.equal(hello?.key, KEY);
  assert.equal(hello?.last_seq, null);
  const [cid] = hello?.pending as string[];
  greet({ pending: { [cid!]: null } });
  assert.deepEqual(last().frames().pop(), { type: "message.send", cid, text: "hi" });
  assert.deepEqual(kept().session, { id: "ses_1", token: "st_1" });
  assert.equal(kept().pending[0]?.cid, cid);
  last().say({ type: "ack", cid, message_id: "m1", seq: 1 });
  assert.deepEqual(kept().pending, []);
});

test("a message without an ack survives a reload and is sent with the same cid, unless it was stored", () => {
  open().send("hi");
  const [pending] = kept().pending;
  for (const stored of [null, 1]) {
    const again = open();
    again.start();
    last().open();
    assert.deepEqual(last().frames()[0]?.pending, [pending!.cid]);
    greet({ pending: { [pending!.cid]: stored } }, stored ?? 0, stored ? [{ id: "m", role: "user", text: "hi", cid: pending!.cid, created_at: "" }] : []);
    const sent = last().frames().filter((f) => f.type === "message.send");
    assert.deepEqual(sent, stored ? [] : [{ type: "message.send", cid: pending!.cid, text: "hi" }]);
    again.close();
  }
  assert.deepEqual(kept().pending, []);
});

test("a gap leads to a new hello that resumes from the last seq", () => {
  const session = open();
  session.start();
  greet({}, 4);
  last().say({ type: "feedback.recorded", seq: 6, message_id: "m", rating: "up" });
  assert.equal(session.snap().link, "waiting");
  mock.timers.tick(1);
  last().open();
  const [hello] = last().frames();
  assert.deepEqual([hello?.epoch, hello?.last_seq, hello?.session], ["e1", 4, { id: "ses_1", token: "st_1" }]);
});

test("a head that stays ahead for a heartbeat is a gap, one that is caught up with is none", () => {
  const session = open();
  session.start();
  greet({}, 4);
  last().say({ type: "pong", t: 1, head_seq: 5 });
  last().say({ type: "feedback.recorded", seq: 5, message_id: "m", rating: "up" });
  last().say({ type: "pong", t: 2, head_seq: 6 });
  assert.equal(session.snap().link, "online");
  last().say({ type: "pong", t: 3, head_seq: 6 });
  assert.equal(session.snap().link, "waiting");
});

test("a refused session is forgotten once, and a second refusal is the end", () => {
  area.setItem("frontdesk:" + KEY, JSON.stringify({ session: { id: "old", token: "st" }, seen: "m9", unread: 3 }));
  const session = open();
  session.start();
  last().open();
  last().drop(4401);
  assert.equal(made.length, 2);
  last().open();
  assert.equal(last().frames()[0]?.session, null);
  last().drop(4401);
  mock.timers.tick(60_000);
  assert.equal(made.length, 2);
  assert.deepEqual([session.snap().link, session.snap().ended, kept().session], ["ended", 4401, null]);
  assert.deepEqual(events, ["error"]);
});

test("without a stored session a refusal is the end at once", () => {
  const session = open();
  session.start();
  last().open();
  last().drop(4401);
  assert.deepEqual([made.length, session.snap().link], [1, "ended"]);
});

test("a draining server is left when the running answer is done", () => {
  const session = open();
  session.start();
  greet();
  last().say({ type: "turn.started", seq: 1, turn_id: "t", message_id: "a", gen: 1 });
  last().say({ type: "drain", retry_after_ms: 3000 });
  assert.equal(session.snap().link, "online");
  last().say({ type: "message.completed", seq: 2, turn_id: "t", message: { id: "a", role: "assistant", text: "x", created_at: "" } });
  assert.equal(session.snap().link, "waiting");
  mock.timers.tick(2999);
  assert.equal(made.length, 1);
  mock.timers.tick(1);
  assert.equal(made.length, 2);
});

test("a refused message can be sent again, as a new one", () => {
  const session = open();
  session.start();
  greet();
  session.send("hi");
  const { cid } = session.snap().outbox[0]!;
  last().say({ type: "nack", cid, code: "rate_limited", message: "Later", retry_after_ms: 1000 });
  assert.deepEqual(kept().pending, [], "a refused message is not sent again by itself");
  session.retry(cid);
  const sent = last().frames().filter((f) => f.type === "message.send");
  assert.equal(sent.length, 2);
  assert.notEqual(sent[0]?.cid, sent[1]?.cid);
});

test("a message without an ack is sent again with the heartbeat, with the same cid", () => {
  const session = open();
  session.start();
  greet();
  session.send("hi");
  mock.timers.tick(20_000);
  last().say({ type: "pong", t: 0, head_seq: 0 });
  mock.timers.tick(5_000);
  const sent = last().frames().filter((f) => f.type === "message.send");
  assert.equal(sent.length, 2);
  assert.equal(sent[0]?.cid, sent[1]?.cid);
});

test("while the server is without its database, a message is sent again after the time it says, until it is taken", () => {
  const session = open();
  session.start();
  greet();
  session.send("hi");
  session.send("and");
  const cids = session.snap().outbox.map((d) => d.cid);
  const sent = () => last().frames().flatMap((f) => (f.type === "message.send" ? [f.cid] : []));
  for (let round = 1; round <= 3; round++) {
    assert.deepEqual(sent(), Array(round).fill(cids).flat());
    for (const cid of cids) last().say({ type: "nack", cid, code: "unavailable", message: "A moment.", retry_after_ms: 2000 });
    assert.deepEqual(session.snap().outbox.map((d) => d.state), ["sending", "sending"]);
    assert.equal(session.snap().error, "A moment.");
    mock.timers.tick(1999);
    assert.equal(sent().length, 2 * round);
    mock.timers.tick(1);
  }
  for (const cid of cids) last().say({ type: "ack", cid, message_id: "m" + cid, seq: 1 });
  mock.timers.tick(14_000);
  assert.equal(sent().length, 8);
  assert.equal(session.snap().error, null);
});

test("cut off between the welcome of another epoch and its snapshot, it asks for everything", () => {
  const session = open();
  session.start();
  greet({}, 4);
  last().drop(1006);
  mock.timers.tick(1);
  last().open();
  last().say({ type: "welcome", session: { id: "ses_1", token: "st_1" }, epoch: "e2", head_seq: 9, resumed: false, pending: {}, heartbeat_s: 25 });
  last().drop(1006);
  mock.timers.tick(1);
  last().open();
  assert.equal(last().frames()[0]?.last_seq, null);
});

test("what others store stays when this tab's messages are done", () => {
  const session = open();
  session.send("mine");
  const other = { cid: "c_other", text: "theirs", at: 1 };
  openShelf(KEY, () => area).write({ pending: [...kept().pending, other] });
  greet();
  last().say({ type: "ack", cid: session.snap().outbox[0]!.cid, message_id: "m", seq: 1 });
  assert.deepEqual(kept().pending, [other]);
});

test("a reset forgets the conversation, and the next start has no session", () => {
  const session = open();
  session.start();
  greet({}, 1, [{ id: "m", role: "assistant", text: "x", created_at: "" }]);
  session.reset();
  assert.deepEqual([session.snap().messages, session.snap().link, kept().session], [[], "idle", null]);
  session.start();
  last().open();
  assert.equal(last().frames()[0]?.session, null);
});

const settle = async () => {
  for (let i = 0; i < 30; i++) await Promise.resolve();
};

function stream(frames: { seq?: number; type: string }[]): Response {
  const text = frames.map((f) => `${f.seq ? `id: e1:${f.seq}\n` : ""}data: ${JSON.stringify(f)}\n\n`).join("");
  return new Response(text, { headers: { "Content-Type": "text/event-stream" } });
}

test("where two handshakes fail and HTTP works, the conversation goes over HTTP", async () => {
  answers = (url, init) => {
    if (url.endsWith("/sessions")) return Response.json({ session_id: "ses_h", session_token: "st_h", conversation_id: "c", epoch: "e1" });
    if (url.endsWith("/messages")) return Response.json({ messages: [] });
    const { cid } = JSON.parse(String(init?.body)) as { cid: string };
    return stream([
      { type: "message.created", seq: 1, message: { id: "u", role: "user", text: "hi", cid, created_at: "" } } as never,
      { type: "turn.started", seq: 2, turn_id: "t", message_id: "a", gen: 1 } as never,
      { type: "message.delta", turn_id: "t", message_id: "a", gen: 1, n: 1, text: "He" } as never,
      { type: "message.completed", seq: 3, turn_id: "t", message: { id: "a", role: "assistant", text: "Hello", created_at: "" } } as never,
    ]);
  };
  const session = open();
  session.send("hi");
  last().drop(1006);
  mock.timers.tick(1);
  last().drop(1006);
  await settle();
  await new Promise((done) => setImmediate(done));
  await settle();
  const snap = session.snap();
  assert.deepEqual([snap.link, snap.http], ["online", true]);
  assert.deepEqual(snap.messages.map((m) => m.text), ["hi", "Hello"]);
  assert.deepEqual(snap.outbox, []);
  const chat = calls.find((c) => c.url.endsWith("/chat"));
  const headers = chat?.init?.headers as Record<string, string>;
  assert.equal(headers.Authorization, "Bearer st_h");
  assert.equal(headers["X-Frontdesk-Key"], KEY);
  assert.ok(kept().blocked > Date.now(), "the next page does not try the socket first");
});

test("where HTTP fails too it is the network, and the socket is tried again", async () => {
  const session = open();
  session.start();
  last().drop(1006);
  mock.timers.tick(1);
  last().drop(1006);
  await settle();
  assert.deepEqual([session.snap().link, kept().blocked], ["waiting", 0]);
  mock.timers.tick(30_000);
  assert.equal(made.length, 3);
});

test("a refusal over HTTP ends it: this page's origin is not allowed", async () => {
  answers = () => Response.json({ error: { code: "origin", message: "no" } }, { status: 403 });
  const session = open();
  session.start();
  last().drop(1006);
  mock.timers.tick(1);
  last().drop(1006);
  await settle();
  assert.deepEqual([session.snap().link, session.snap().ended], ["ended", 4403]);
});

test("a conversation that is no more is forgotten, and the next start is a new one with what was not yet sent", () => {
  area.setItem("frontdesk:" + KEY, JSON.stringify({ session: { id: "old", token: "st" } }));
  const session = open();
  session.send("hi");
  last().open();
  last().drop(4410);
  assert.deepEqual([session.snap().link, session.snap().ended, kept().session], ["ended", 4410, null]);
  session.start();
  greet();
  assert.equal(last().frames()[0]?.session, null);
  assert.equal(last().frames().pop()?.text, "hi");
});

test("a chat opened in another window rests until it is taken back", () => {
  const session = open();
  session.start();
  greet({}, 3);
  last().drop(4409);
  session.nudge();
  mock.timers.tick(60_000);
  assert.deepEqual([made.length, session.snap().link, session.snap().ended], [1, "ended", 4409]);
  session.start();
  last().open();
  assert.deepEqual([last().frames()[0]?.session, last().frames()[0]?.last_seq], [{ id: "ses_1", token: "st_1" }, 3]);
});

test("a server without its database says so before hello is done, and is tried again", () => {
  const session = open();
  session.send("hi");
  last().open();
  last().say({ type: "error", code: "unavailable", message: "A short problem.", temporary: true });
  last().drop(4002);
  assert.deepEqual([session.snap().link, session.snap().error], ["waiting", "A short problem."]);
  mock.timers.tick(1);
  assert.equal(made.length, 2);
  greet();
  assert.deepEqual([session.snap().link, session.snap().error], ["online", null]);
  assert.equal(last().frames().pop()?.text, "hi");
});

test("a resume without a snapshot goes on with what is there", () => {
  const session = open();
  session.start();
  greet({}, 2, [{ id: "m", role: "assistant", text: "x", created_at: "" }]);
  last().drop(1006);
  mock.timers.tick(1);
  last().open();
  last().say({ type: "welcome", session: { id: "ses_1", token: "st_1" }, epoch: "e1", head_seq: 2, resumed: true, pending: {}, heartbeat_s: 25 });
  const { link, messages, loaded, gap } = session.snap();
  assert.deepEqual([link, messages.length, loaded, gap], ["online", 1, true, false]);
});

test("a refused message can be taken back", () => {
  const session = open();
  session.start();
  greet();
  session.send("hi");
  const { cid } = session.snap().outbox[0]!;
  last().say({ type: "nack", cid, code: "rate_limited", message: "Later", retry_after_ms: 1000 });
  session.remove(cid);
  assert.deepEqual(session.snap().outbox, []);
});

test("over HTTP a stream that ends before the answer does is asked for the rest, until there is none", async () => {
  const created = (cid: string, seq: number) => ({ type: "message.created", seq, message: { id: "u" + seq, role: "user", text: "hi", cid, created_at: "" } });
  const started = { type: "turn.started", seq: 3, turn_id: "t", message_id: "a", gen: 1 };
  const completed = { type: "message.completed", seq: 4, turn_id: "t", message: { id: "a", role: "assistant", text: "Hello", created_at: "" } };
  let cut = () => {};
  const given = [
    () => stream([created(cid(), 1)]), // another answer goes first
    () => stream([{ type: "turn.failed", seq: 2, turn_id: "other", code: "x", message: "", retryable: true } as never, started]),
    () => new Response(new ReadableStream({ start: (c) => (cut = () => c.error(new TypeError("reset"))) })),
    () => Response.json({ error: { code: "unavailable", message: "A moment.", retry_after_ms: 2000 } }, { status: 503 }),
    () => stream([completed]),
    () => stream([created(cid(), 5)]), // people answer
    () => new Response(null, { status: 204 }),
  ];
  const cid = () => (JSON.parse(String(calls[calls.length - 1]!.init?.body)) as { cid: string }).cid;
  answers = (url) => {
    if (url.endsWith("/sessions")) return Response.json({ session_id: "ses_h", session_token: "st_h", conversation_id: "c", epoch: "e1" });
    if (url.endsWith("/messages")) return Response.json({ messages: [] });
    return given.shift()!();
  };
  const pass = async () => {
    for (let i = 0; i < 20; i++) {
      cut();
      await new Promise((done) => setImmediate(done));
      mock.timers.tick(2_000);
    }
  };
  const session = open();
  session.send("hi");
  last().drop(1006);
  mock.timers.tick(1);
  last().drop(1006);
  await pass();
  assert.deepEqual(session.snap().messages.map((m) => m.text), ["hi", "Hello"]);
  session.send("hi");
  await pass();
  assert.deepEqual(given, []);
  assert.deepEqual(session.snap().messages.map((m) => m.text), ["hi", "Hello", "hi"]);
  assert.deepEqual(session.snap().outbox, []);
  const chats = calls.filter((c) => c.url.endsWith("/chat"));
  const ids = chats.map((c) => (c.init!.headers as Record<string, string>)["Last-Event-ID"]);
  assert.deepEqual(ids, [undefined, "e1:1", "e1:3", "e1:3", "e1:3", undefined, "e1:5"]);
  session.close();
});
