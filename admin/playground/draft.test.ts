import assert from "node:assert/strict";
import { test } from "node:test";
import { modelOf } from "../clients/edit.ts";
import { type Draft, sentDraft } from "./draft.ts";

const SAVED: Draft = { system_prompt: "Be kind.", model: modelOf({}), tools: ["track_order"] };

test("a draft as it is saved says nothing", () => {
  assert.deepEqual(sentDraft({ ...SAVED, tools: [...SAVED.tools], model: modelOf({}) }, SAVED), { system_prompt: null, model: null, tools: null });
});

test("only what differs is sent, an empty text and no tools too", () => {
  assert.deepEqual(sentDraft({ ...SAVED, system_prompt: "", tools: [] }, SAVED), { system_prompt: "", model: null, tools: [] });
  assert.deepEqual(sentDraft({ ...SAVED, model: modelOf({ model: "gpt-x" }) }, SAVED).model, modelOf({ model: "gpt-x" }));
});
