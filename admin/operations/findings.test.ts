import assert from "node:assert/strict";
import { test } from "node:test";
import type { Finding } from "../core/api.gen.ts";
import { howMany, sorted } from "./findings.ts";

const finding = (check: string, status: Finding["status"]): Finding => ({ check, status, says: "", advice: null, ms: 1 });
const FOUND = [finding("a", "ok"), finding("b", "warning"), finding("c", "error"), finding("d", "warning"), finding("e", "ok")];

test("what needs doing stands first, and nothing is lost or turned round within its kind", () => {
  assert.deepEqual(sorted(FOUND).map(({ check }) => check), ["c", "b", "d", "a", "e"]);
});

test("each kind is counted", () => {
  assert.deepEqual([howMany(FOUND, "error"), howMany(FOUND, "warning"), howMany([], "ok")], [1, 2, 0]);
});
