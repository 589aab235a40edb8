import assert from "node:assert/strict";
import { test } from "node:test";
import type { Item } from "../../../widget-src/core/reducer.ts";
import type { NoteInfo, TurnInfo, TurnToolCall } from "../../core/api.gen.ts";
import { liveCalls, recordedCalls } from "./calls.ts";
import { emptyTalk, type Talk } from "./talk.ts";
import { timeline } from "./timeline.ts";

const START = new Date(2026, 0, 10, 12).getTime();
const at = (minute: number) => new Date(START + minute * 60_000).toISOString();
const said = (id: string, minute: number, role: Item["role"] = "user", more: Partial<Item> = {}): Item => ({ id, role, text: id, created_at: at(minute), ...more });
const note = (id: number, minute: number): NoteInfo => ({ id, conversation_id: "cnv_a", text: "n", created_at: at(minute), operator: null });

function talkOf(messages: Item[], more: Partial<Talk["state"]> = {}): Talk {
  const talk = emptyTalk("cnv_a");
  return { ...talk, state: { ...talk.state, loaded: true, messages, ...more } };
}

const keys = (talk: Talk, notes: NoteInfo[] = [], turns: TurnInfo[] = [], whole = true) => timeline(talk, notes, turns, whole, START).map((entry) => entry.key);

test("what one side says in a row stands together; another side, a notice and a pause part it", () => {
  const talk = talkOf([said("a", 0), said("b", 1), said("c", 8), said("d", 8, "assistant"), said("e", 9, "system", { owner: "human" }), said("f", 9, "assistant")]);
  const places = timeline(talk, [], [], true, START).map(({ key, first, last }) => `${key}${first ? " first" : ""}${last ? " last" : ""}`);
  assert.deepEqual(places, ["a first", "b last", "c first last", "d first last", "e first last", "f first last"]);
});

test("notes, whispers and failed answers stand where they were made", () => {
  const talk: Talk = {
    ...talkOf([said("a", 0), said("b", 10)]),
    whispers: [{ type: "whisper.recorded", conversation_id: "cnv_a", no: 1, text: "w", created_at: at(5) }],
  };
  const failed = { turn_id: "trn_1", status: "failed", queued_at: at(6), finished_at: at(7) } as TurnInfo;
  const done = { ...failed, turn_id: "trn_2", status: "done" } as TurnInfo;
  assert.deepEqual(keys(talk, [note(1, 20), note(2, 3)], [failed, done]), ["a", "note-2", "whisper-1", "trn_1", "b", "note-1"]);
});

test("before the first loaded message nothing stands that may belong further up", () => {
  const talk = talkOf([said("b", 10)]);
  assert.deepEqual(keys(talk, [note(1, 3), note(2, 12)], [], false), ["b", "note-2"]);
  assert.deepEqual(keys(talk, [note(1, 3), note(2, 12)], [], true), ["note-1", "b", "note-2"]);
});

test("what is being said and what is not yet stored come last, after the notes", () => {
  const live = { turn_id: "t", message_id: "ans", gen: 1, n: 0, text: "" };
  const talk = talkOf([said("a", 0)], { live, outbox: [{ cid: "c1", text: "hi", at: START, state: "sending" }] });
  assert.deepEqual(keys(talk, [note(1, 0)]), ["a", "note-1", "ans", "c1"]);
});

test("a day is named where it begins, but not today's at the top", () => {
  const days = (minutes: number[]) => timeline(talkOf(minutes.map((minute, i) => said(`m${i}`, minute))), [], [], true, START).map(({ kind }) => kind);
  assert.deepEqual(days([0, 1]), ["message", "message"]);
  assert.deepEqual(days([-2 * 1440, -1440, 0]), ["day", "message", "day", "message", "day", "message"]);
});

const call = (more: Partial<TurnToolCall>): TurnToolCall => ({
  call_id: "t:1",
  name: "look",
  arguments: { day: "Friday" },
  response: null,
  success: null,
  error: null,
  ms: null,
  attempts: 1,
  approval: null,
  approval_until: null,
  began_at: at(0),
  ...more,
});

test("a recorded call says how it ended, and that nobody knows where nobody does", () => {
  const states = (more: Partial<TurnToolCall>) => [false, true].map((over) => recordedCalls([call(more)], over)[0]!.state);
  assert.deepEqual(states({ success: true, ms: 5 }), ["done", "done"]);
  assert.deepEqual(states({ success: false, ms: 5 }), ["failed", "failed"]);
  assert.deepEqual(states({}), ["running", "unknown"]);
  assert.deepEqual(states({ ms: 900 }), ["unknown", "unknown"]);
  assert.deepEqual(states({ approval: "asked", approval_until: at(1) }), ["confirm", "unknown"]);
});

test("a running call shows what was told of it, else what is recorded", () => {
  const steps = [{ call_id: "t:1", label: "Looking", state: "running" as const }];
  const trace = { type: "tool.trace" as const, conversation_id: "c", turn_id: "t", call_id: "t:1", name: "look", arguments: { day: "Sunday" }, result: '{"free":true}' };
  const [told] = liveCalls(steps, { "t:1": trace }, [call({})]);
  assert.deepEqual([told?.name, told?.arguments, told?.result], ["look", { day: "Sunday" }, { free: true }]);
  const [plain] = liveCalls(steps, { "t:1": { ...trace, result: "not json" } });
  assert.equal(plain?.result, "not json");
  const [late] = liveCalls(steps, {}, [call({ response: [1] })]);
  assert.deepEqual([late?.name, late?.arguments, late?.result], ["look", { day: "Friday" }, [1]]);
  assert.deepEqual(liveCalls(undefined, {}), []);
});
