import assert from "node:assert/strict";
import { test } from "node:test";
import { draft, EMPTY, type Item, type State } from "../core/reducer.ts";
import { lines } from "./lines.ts";

const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 10, minute)).toISOString();
const item = (id: string, role: Item["role"], minute: number): Item => ({ id, role, text: id, created_at: at(minute) });
const shape = (state: State, settings = {}) =>
  lines(state, settings, Date.parse(at(0))).map((l) => l.key + (l.first ? "<" : "") + (l.last ? ">" : ""));

test("what one side says in a row stands together, until it pauses", () => {
  const messages = [item("a", "user", 0), item("b", "user", 1), item("c", "assistant", 1), item("d", "assistant", 9)];
  assert.deepEqual(shape({ ...EMPTY, messages }), ["a<", "b>", "c<>", "d<>"]);
});

test("the welcome comes first, then messages, drafts, and the running answer", () => {
  const live = { turn_id: "t", message_id: "m9", gen: 1, n: 1, text: "x" };
  const state = { ...draft({ ...EMPTY, messages: [item("a", "user", 0)] }, "c1", "hi", Date.parse(at(1))), live };
  assert.deepEqual(shape(state, { welcome_message: "Hi" }), ["welcome<>", "a<", "c1>", "m9<>"]);
});

test("an unchanged line keeps its item, so that it is not drawn again", () => {
  const settings = { welcome_message: "Hi" };
  const state = draft({ ...EMPTY, messages: [item("a", "user", 0)] }, "c1", "hi", 0);
  const [one, two] = [lines(state, settings, 0), lines({ ...state }, settings, 0)];
  assert.deepEqual(one.map((l, i) => l.item === two[i]!.item), [true, true, true]);
});
