import assert from "node:assert/strict";
import { test } from "node:test";
import type { TurnSpan } from "../core/api.gen.ts";
import { barsOf } from "./bars.ts";

const span = (start_ms: number, ms: number | null): TurnSpan => ({ kind: "tool", name: "t", start_ms, ms, ok: null });

test("bars lie where their time lies", () => {
  assert.deepEqual(
    barsOf([span(0, 100), span(100, 300)], 400).map(({ start, width }) => [start, width]),
    [
      [0, 25],
      [25, 75],
    ],
  );
});

test("a span that lasts reaches to now", () => {
  assert.deepEqual(barsOf([span(500, null)], 1000).map(({ start, width }) => [start, width]), [[50, 50]]);
});

test("nothing is too narrow to be seen or reaches over the end", () => {
  for (const { start, width } of barsOf([span(0, 0), span(1000, 0), span(2000, 1), span(5, null)], 1000)) {
    assert.ok(width >= 0.5 && start >= 0 && start + width <= 100);
  }
  assert.deepEqual(barsOf([], 0), []);
});
