import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import type { FromOperator, Message } from "../../../widget-src/core/protocol.gen.ts";
import { createConversationStore, type ConversationStore } from "./conversation_store.ts";
import type { About } from "./operator_session.ts";
import { createSources } from "./source.ts";
import { emptyTalk } from "./talk.ts";

const ID = "cnv_a";
const AT = "2026-01-01T10:00:00Z";

let sent: FromOperator[];
let asked: number;
let online: boolean;
let store: ConversationStore;
let pages: { messages: Message[]; before: string | null }[];
let befores: string[];

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  sent = [];
  asked = 0;
  online = true;
  pages = [];
  befores = [];
  store = createConversationStore(createSources((run) => run())(emptyTalk(ID)), {
    send(frame) {
      if (online) sent.push(frame);
      return online;
    },
    again: () => asked++,
    older(before) {
      befores.push(before);
      return Promise.resolve(pages.shift()!);
    },
    present: () => true,
  });
});

const talk = () => store.talk.get();
const say = (frame: object) => store.receive({ conversation_id: ID, ...frame } as About);
const frame = (inner: object) => say({ type: "conversation.frame", frame: inner });
const watched = (change: object = {}) => say({ type: "conversation.watched", client_id: 3, epoch: "e1", head_seq: 1, resumed: false, ...change });
const message = (id: string, more: object = {}) => ({ id, role: "user", text: id, created_at: AT, ...more });
const snapshot = (messages: object[], seq = messages.length) => frame({ type: "snapshot", up_to_seq: seq, owner: "ai", messages });

test("it asks from nothing, and then from where it stands", () => {
  assert.deepEqual(store.hello(), { type: "conversation.watch", conversation_id: ID, epoch: null, last_seq: null });
  watched({ whispers: [] });
  snapshot([message("m1")]);
  assert.deepEqual(store.hello(), { type: "conversation.watch", conversation_id: ID, epoch: "e1", last_seq: 1 });
  assert.equal(talk().clientId, 3);
  assert.deepEqual(talk().state.messages.map((m) => m.id), ["m1"]);
});

test("a gap asks anew, once", () => {
  watched();
  snapshot([message("m1")]);
  frame({ type: "feedback.recorded", seq: 3, message_id: "m1", rating: "up" });
  frame({ type: "feedback.recorded", seq: 4, message_id: "m1", rating: "up" });
  assert.equal(asked, 1);
  watched({ resumed: true });
  for (const seq of [2, 3]) frame({ type: "feedback.recorded", seq, message_id: "m1", rating: "up" });
  assert.equal(talk().state.seq, 3);
});

test("a head that stays ahead for a heartbeat asks anew", () => {
  watched();
  snapshot([message("m1")]);
  store.head(2);
  assert.equal(asked, 0);
  store.head(2);
  assert.equal(asked, 1);
});

test("a reply waits for its ack, and is said again with its cid after a loss and after a heartbeat without one", () => {
  watched();
  snapshot([message("m1")]);
  store.reply("Hello there");
  const [first] = sent;
  assert.ok(first?.type === "message.send" && first.text === "Hello there");
  store.lost();
  watched({ resumed: true });
  assert.deepEqual(sent, [first, first]);
  mock.timers.tick(15_000);
  store.head(1);
  assert.deepEqual(sent, [first, first, first]);
  say({ type: "ack", cid: first.cid, message_id: "m2", seq: 2 });
  frame({ type: "message.created", seq: 2, message: message("m2", { role: "operator", cid: first.cid, text: first.text }) });
  mock.timers.tick(15_000);
  store.head(2);
  assert.equal(sent.length, 3);
  assert.deepEqual(talk().state.outbox, []);
  assert.deepEqual(talk().state.messages.map((m) => m.role), ["user", "operator"]);
});

test("what is written offline is kept and goes out when it is watched again", () => {
  online = false;
  store.reply("Later");
  assert.deepEqual(sent, []);
  online = true;
  watched();
  assert.equal(sent.length, 1);
});

test("a refused reply says why; tried again it is a new one", () => {
  watched();
  store.reply("Mine?");
  const [first] = sent as { cid: string }[];
  say({ type: "nack", cid: first!.cid, code: "not_yours", message: "take this conversation first" });
  assert.deepEqual(talk().state.outbox.map((d) => [d.state, d.error]), [["failed", "take this conversation first"]]);
  store.retry(first!.cid);
  const second = sent[1] as { cid: string; text: string };
  assert.equal(second.text, "Mine?");
  assert.notEqual(second.cid, first!.cid);
  store.remove(second.cid);
  assert.deepEqual(talk().state.outbox, []);
});

test("a reply that cannot be stored for the moment is said again when the server says", () => {
  watched();
  store.reply("Hello");
  const [first] = sent as { cid: string }[];
  say({ type: "nack", cid: first!.cid, code: "unavailable", message: "A moment", retry_after_ms: 500 });
  assert.equal(talk().state.outbox[0]!.state, "sending");
  mock.timers.tick(500);
  assert.equal(sent.length, 2);
});

test("a command runs until it is done, and not twice meanwhile", () => {
  watched();
  store.takeOver();
  store.takeOver();
  assert.equal(sent.length, 1);
  assert.equal(talk().commands["conversation.take"]?.state, "running");
  say({ type: "command.done", command: "conversation.take" });
  assert.deepEqual(talk().commands, {});
});

test("a command that is refused says why until it is dismissed", () => {
  watched();
  store.takeOver();
  say({ type: "error", command: "conversation.take", code: "taken", message: "Ana has this conversation", temporary: false });
  assert.deepEqual(talk().commands["conversation.take"], { state: "failed", error: "Ana has this conversation", text: undefined });
  store.dismiss("conversation.take");
  assert.deepEqual(talk().commands, {});
});

test("a command whose answer was lost is not said again: it is told as lost, with the whisper that was written", () => {
  watched();
  store.whisper("Offer a discount");
  store.lost();
  watched({ resumed: true });
  assert.equal(sent.length, 1);
  assert.deepEqual(talk().commands["whisper.send"], { state: "failed", error: "", text: "Offer a discount" });
});

test("without a link a command fails at once, and is not told as one that may have been done", () => {
  online = false;
  store.close();
  assert.deepEqual(talk().commands["conversation.close"], { state: "failed", error: null, text: undefined });
});

test("a watch that fails for the moment is asked for again; one that is refused is not", () => {
  say({ type: "error", command: "conversation.watch", code: "unavailable", message: "A moment", temporary: true, retry_after_ms: 300 });
  mock.timers.tick(300);
  assert.equal(asked, 1);
  say({ type: "error", command: "conversation.watch", code: "not_found", message: "there is no such conversation", temporary: false });
  mock.timers.tick(60_000);
  assert.equal(asked, 1);
  assert.equal(talk().refused, "there is no such conversation");
});

test("whispers are shown once and in order, however often they come", () => {
  const whisper = (no: number) => ({ type: "whisper.recorded", conversation_id: ID, no, text: `w${no}`, created_at: AT });
  watched({ whispers: [whisper(1), whisper(2)] });
  say(whisper(3));
  say(whisper(2));
  watched({ whispers: [whisper(2), whisper(3), whisper(4)] });
  assert.deepEqual(talk().whispers.map((w) => w.text), ["w1", "w2", "w3", "w4"]);
});

test("a call keeps its result when the news of its beginning comes late", () => {
  const call = { type: "tool.trace", turn_id: "t", call_id: "t:1", name: "look", arguments: { day: "Friday" } };
  say({ ...call, result: "free" });
  say(call);
  assert.equal(talk().calls["t:1"]?.result, "free");
});

test("the visitor's typing shows for six seconds, or until they have said it; a loss ends it", () => {
  frame({ type: "typing", who: "visitor", on: true });
  assert.equal(talk().visitorTyping, 1_006_000);
  frame({ type: "typing", who: "visitor", on: false });
  assert.equal(talk().visitorTyping, 0);
  watched();
  snapshot([]);
  frame({ type: "typing", who: "visitor", on: true });
  frame({ type: "message.created", seq: 1, message: message("m1") });
  assert.equal(talk().visitorTyping, 0);
  frame({ type: "typing", who: "visitor", on: true });
  store.lost();
  assert.equal(talk().visitorTyping, 0);
});

test("that one types is told every other second, and its end once", () => {
  for (let i = 0; i < 30; i++) {
    store.typing(true);
    mock.timers.tick(100);
  }
  store.typing(false);
  store.typing(false);
  assert.deepEqual(sent.map((each) => each.type === "typing.set" && each.on), [true, true, false]);
});

test("older messages come page by page until the beginning", async () => {
  watched();
  snapshot([message("m5")], 5);
  pages = [
    { messages: [message("m3"), message("m4")] as Message[], before: "m3" },
    { messages: [message("m1"), message("m2")] as Message[], before: null },
  ];
  const both = [store.older(), store.older()];
  assert.deepEqual(await Promise.all(both), [true, true], "one request for two who ask");
  assert.equal(await store.older(), false);
  assert.equal(await store.older(), false);
  assert.deepEqual(befores, ["m5", "m3"]);
  assert.deepEqual(talk().state.messages.map((m) => m.id), ["m1", "m2", "m3", "m4", "m5"]);
});

test("one who is not there after a loss is not said to be there", () => {
  say({ type: "presence", operators: [{ id: 7, name: "Ana" }], visitor_online: true });
  assert.deepEqual([talk().operators.length, talk().visitorOnline], [1, true]);
  store.lost();
  assert.deepEqual([talk().operators.length, talk().visitorOnline], [0, null]);
});
