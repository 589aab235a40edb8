import assert from "node:assert/strict";
import test from "node:test";
import { bytes, count, duration, language, money, percent, plural, relative } from "./text.ts";

test("money keeps what matters", () => {
  const told = ["0", "0.0000012", "0.00042", "0.1234", "1", "1234.5", "-0.5", "-0.00000001"].map(money);
  assert.deepEqual(told, ["$0.00", "< $0.0001", "$0.0004", "$0.1234", "$1.00", "$1,234.50", "-$0.5000", "-$0.0001"]);
});

test("durations have two units at most", () => {
  const told = [0, 850.4, 2400, 9949, 9950, 59_600, 200_000, 7_500_000, 273_600_000, 86_400_000].map(duration);
  assert.deepEqual(told, ["0 ms", "850 ms", "2.4 s", "9.9 s", "10 s", "1 min", "3 min 20 s", "2 h 5 min", "3 d 4 h", "1 d"]);
});

test("times are told from now", () => {
  const now = Date.UTC(2026, 2, 4, 12);
  const ago = (s: number) => relative(now - s * 1000, now);
  assert.deepEqual([0, 44, 50, 3599, 3600, 86_399, 86_400, 6 * 86_400].map(ago), ["just now", "just now", "1 min ago", "1 h ago", "1 h ago", "1 d ago", "1 d ago", "6 d ago"]);
  assert.equal(relative(now + 7_200_000, now), "in 2 h");
  assert.match(ago(8 * 86_400), /^Feb 2[34]$/);
  assert.match(ago(400 * 86_400), /2025/);
});

test("numbers are grouped, shares and sizes rounded", () => {
  assert.deepEqual([count(1234567), plural(1, "message", "messages"), plural(0, "message", "messages")], ["1,234,567", "1 message", "0 messages"]);
  assert.deepEqual([percent(0), percent(0.004), percent(0.126), percent(1)], ["0%", "0.4%", "13%", "100%"]);
  assert.deepEqual([bytes(0), bytes(1023), bytes(1024), bytes(5_500_000)], ["0 bytes", "1023 bytes", "1.0 KB", "5.2 MB"]);
});

test("languages have names", () => {
  assert.deepEqual([language("en"), language("pt-BR"), language("no language")], ["English", "Brazilian Portuguese", "no language"]);
});
