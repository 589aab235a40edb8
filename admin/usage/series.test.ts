import assert from "node:assert/strict";
import { test } from "node:test";
import type { UsageOfDay } from "../core/api.gen.ts";
import { isFlat, linesOf, step, ticks, timesOf, valuesOf } from "./series.ts";

const day = (date: string, messages: number, cost: string): UsageOfDay => ({
  date,
  messages,
  cost,
  conversations: 1,
  tokens_input: 100,
  tokens_output: 20,
  tool_calls: 0,
  cached_answers: 0,
});
const DAYS = [day("2026-03-01", 4, "0.0125000000"), day("2026-03-02", 0, "0"), day("2026-03-03", 12, "1.5")];

test("a day is its midnight in UTC, in seconds", () => {
  assert.deepEqual(timesOf(DAYS), [1772323200, 1772409600, 1772496000]);
});

test("cost is a number, though it comes as a text", () => {
  assert.deepEqual(valuesOf(DAYS, "cost"), [0.0125, 0, 1.5]);
});

test("lines have one value a day, and the second one is told apart", () => {
  const lines = linesOf(DAYS, [
    { amount: "tokens_input", label: "In" },
    { amount: "tokens_output", label: "Out" },
  ]);
  assert.deepEqual(
    lines.map(({ label, values, tone }) => [label, values, tone]),
    [
      ["In", [100, 100, 100], "first"],
      ["Out", [20, 20, 20], "second"],
    ],
  );
});

test("a period without use is flat, one use is enough to be none", () => {
  assert.ok(isFlat(linesOf(DAYS, [{ amount: "tool_calls", label: "Calls" }])));
  assert.ok(!isFlat(linesOf(DAYS, [{ amount: "messages", label: "Messages" }])));
});

test("arrow keys walk through the days and stop at both ends", () => {
  assert.equal(step("ArrowRight", null, 3), 2);
  assert.equal(step("ArrowLeft", 2, 3), 1);
  assert.equal(step("ArrowLeft", 0, 3), 0);
  assert.equal(step("ArrowRight", 2, 3), 2);
  assert.equal(step("PageUp", 20, 30), 13);
  assert.equal(step("Home", 2, 3), 0);
  assert.equal(step("End", 0, 3), 2);
  assert.equal(step("Tab", 1, 3), null);
});

test("below a chart stand no more days than there is room for", () => {
  const times = Array.from({ length: 30 }, (_, i) => i);
  assert.deepEqual(ticks(times, 320, 64), [0, 7, 14, 21, 28]);
  assert.equal(ticks(times, 3000, 64).length, 30);
  for (const length of [1, 7, 90, 366]) {
    for (const width of [40, 300, 900]) {
      const shown = ticks(Array.from({ length }, (_, i) => i), width, 64);
      assert.ok(shown.length >= 1 && shown.length <= Math.max(1, Math.floor(width / 64)) + 1, `${length} days, ${width} px`);
      assert.equal(shown[0], 0);
    }
  }
});
