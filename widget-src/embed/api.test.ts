import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { createApi, type Frontdesk } from "./api.ts";

let warnings: string[];

beforeEach(() => {
  mock.restoreAll();
  warnings = [];
  mock.method(console, "warn", (text: string) => warnings.push(text));
});

/** The snippet of the documentation. */
function stub(): Frontdesk & { q?: unknown[] } {
  const fn: Frontdesk & { q?: unknown[] } = (...args) => void (fn.q = fn.q ?? []).push(args);
  return fn;
}

test("calls made before the script wait for the start, and come in order", () => {
  const early = stub();
  early("send", "one");
  const api = createApi(early);
  early("send", "two");
  api.call("send", "three");
  const sent: unknown[] = [];
  api.begin({ send: (text) => sent.push(text) });
  early("send", "four");
  assert.deepEqual(sent, ["one", "two", "three", "four"]);
});

test("listeners count at once, a late one for ready still fires, and off takes them away", () => {
  const early = stub();
  const log: unknown[] = [];
  const fn = (detail: unknown) => log.push(detail);
  early("on", "error", fn);
  const api = createApi(early);
  api.emit("error", "config");
  api.emit("ready", "now");
  api.call("on", "ready", fn);
  api.call("off", "error", fn);
  api.emit("error", "unheard");
  assert.deepEqual(log, ["config", "now"]);
});

test("off without a function takes away all of an event", () => {
  const api = createApi();
  const log: number[] = [];
  api.call("on", "open", () => log.push(1));
  api.call("on", "close", () => log.push(2));
  api.call("off", "open");
  api.emit("open");
  api.emit("close");
  assert.deepEqual(log, [2]);
});

test("nothing throws: unknown calls, wrong arguments and failing listeners warn", () => {
  const api = createApi();
  api.begin({ open: () => assert.fail("on purpose") });
  api.call("dance");
  api.call();
  api.call("toString");
  api.call("on", "nothing", () => undefined);
  api.call("on", "open");
  api.call("open");
  api.call("on", "close", () => assert.fail("on purpose"));
  api.emit("close");
  assert.equal(warnings.length, 7);
  for (const text of warnings) assert.match(text, /^\[frontdesk\] /);
});
