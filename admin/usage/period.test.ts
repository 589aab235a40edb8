import assert from "node:assert/strict";
import { test } from "node:test";
import { addDays, daysIn, isDay, monthOf, periodOf } from "./period.ts";

const NOW = Date.parse("2026-03-05T23:30:00Z");
const period = (query: string) => periodOf(new URLSearchParams(query), NOW);

test("without anything asked for it is the last 30 days, today among them", () => {
  const { name, from, to, problem } = period("");
  assert.deepEqual({ name, from, to, problem }, { name: "30d", from: "2026-02-04", to: "2026-03-05", problem: null });
  assert.equal(daysIn(from, to), 30);
});

test("each of the named lengths has that many days", () => {
  for (const [name, length] of [["7d", 7], ["30d", 30], ["90d", 90]] as const) {
    const { from, to } = period(`period=${name}`);
    assert.equal(daysIn(from, to), length);
  }
});

test("this month ends today, the last one with its last day", () => {
  assert.deepEqual([period("period=month").from, period("period=month").to], ["2026-03-01", "2026-03-05"]);
  assert.deepEqual([period("period=last").from, period("period=last").to], ["2026-02-01", "2026-02-28"]);
});

test("the month before January is December of the year before", () => {
  assert.deepEqual(monthOf("2026-01-31", 1), { from: "2025-12-01", to: "2025-12-31" });
});

test("a leap year's February has its 29th", () => {
  assert.equal(monthOf("2028-03-15", 1).to, "2028-02-29");
  assert.equal(addDays("2028-02-28", 1), "2028-02-29");
});

test("a name that there is not is the last 30 days", () => {
  assert.equal(period("period=century").name, "30d");
});

test("days of one's own are taken as they are", () => {
  const own = period("period=custom&from=2026-01-01&to=2026-01-31");
  assert.deepEqual([own.from, own.to, own.problem], ["2026-01-01", "2026-01-31", null]);
});

test("days that are missing, turned round or too many are a problem that is named", () => {
  assert.equal(period("period=custom&from=2026-01-01").problem, "missing");
  assert.equal(period("period=custom&from=2026-02-30&to=2026-03-01").problem, "missing");
  assert.equal(period("period=custom&from=2026-02-02&to=2026-02-01").problem, "order");
  assert.equal(period("period=custom&from=2025-01-01&to=2026-01-01").problem, null);
  assert.equal(period("period=custom&from=2025-01-01&to=2026-01-02").problem, "long");
});

test("a day is one that the calendar has", () => {
  for (const day of ["2026-02-28", "2000-01-01"]) assert.ok(isDay(day));
  for (const none of ["2026-02-29", "2026-13-01", "26-01-01", "yesterday", "", null]) assert.ok(!isDay(none));
});
