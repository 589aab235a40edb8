import assert from "node:assert/strict";
import test from "node:test";
import { find, nameOf, type Shortcut } from "./keys.ts";

const event = (key: string, more: Partial<KeyboardEvent> = {}) => ({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...more });

test("keys have one name each", () => {
  assert.equal(nameOf(event("j")), "j");
  assert.equal(nameOf(event("J", { shiftKey: true })), "Shift+j");
  assert.equal(nameOf(event("?", { shiftKey: true })), "?");
  assert.equal(nameOf(event("Enter", { ctrlKey: true })), "Mod+Enter");
  assert.equal(nameOf(event("Enter", { shiftKey: true })), "Shift+Enter");
  assert.equal(nameOf(event(" ")), "Space");
});

const shortcut = (keys: string, more: Partial<Shortcut> = {}): Shortcut => ({ keys, label: keys, run: () => undefined, ...more });

test("the newest shortcut that works is found", () => {
  const [older, newer, off] = [shortcut("j"), shortcut("j"), shortcut("j", { when: false })];
  assert.equal(find("j", "", false, [older, newer, off]), newer);
  assert.equal(find("k", "", false, [older, newer]), undefined);
  assert.ok(find("Shift+r", "", false, [shortcut("Shift+R")]));
});

test("while somebody types only those with Mod work, and those that say so", () => {
  const list = [shortcut("j"), shortcut("Mod+Enter"), shortcut("Escape", { typing: true })];
  assert.equal(find("j", "", true, list), undefined);
  assert.equal(find("Mod+Enter", "", true, list), list[1]);
  assert.equal(find("Escape", "", true, list), list[2]);
});

test("a sequence goes before its last key alone", () => {
  const list = [shortcut("g i"), shortcut("i")];
  assert.equal(find("i", "g", false, list), list[0]);
  assert.equal(find("i", "", false, list), list[1]);
});
