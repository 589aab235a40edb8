import assert from "node:assert/strict";
import { test } from "node:test";
import { openShelf, parseKept } from "./storage.ts";

test("what is not ours reads as nothing kept", () => {
  for (const text of [null, "", "{", "5", "[]", '{"session":{"id":5,"token":"x"}}', '{"session":"x"}', '{"pending":[{"cid":1}]}', '{"pending":5}', '{"pending":[null]}']) {
    const kept = parseKept(text);
    assert.deepEqual([kept.session, kept.pending], [null, []], String(text));
  }
});

test("a browser that blocks storage keeps it as long as the page lives", () => {
  const shelf = openShelf("k", () => {
    throw new Error("blocked");
  });
  assert.equal(shelf.read().session, null);
  shelf.write({ session: { id: "s", token: "t" } });
  shelf.write({ unread: 2 });
  assert.deepEqual([shelf.read().session, shelf.read().unread], [{ id: "s", token: "t" }, 2]);
});

test("a full storage keeps the newest in memory, over what was stored", () => {
  let full = false;
  const data = new Map<string, string>();
  const area = {
    getItem: (key: string) => data.get(key) ?? null,
    setItem(key: string, value: string) {
      if (full) throw new Error("quota");
      data.set(key, value);
    },
  };
  const shelf = openShelf("k", () => area);
  shelf.write({ unread: 1 });
  full = true;
  shelf.write({ unread: 2 });
  assert.equal(shelf.read().unread, 2);
  full = false;
  shelf.write({ seen: "m" });
  assert.deepEqual(parseKept(data.get("frontdesk:k")!).unread, 2);
});
