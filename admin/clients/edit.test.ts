import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClientDetail } from "../core/api.gen.ts";
import { editOf, modelOf, widgetOf } from "./edit.ts";

const CLIENT: ClientDetail = {
  id: 7,
  version: 3,
  name: "Bob's Pizza",
  domain: "bob.example",
  allowed_origins: ["https://bob.example"],
  public_key: "pk_1",
  api_key_prefix: "sk_1",
  has_identity_secret: false,
  plan: "free",
  requests_per_minute: 60,
  status: "active",
  system_prompt: "Be kind.",
  model: {},
  widget: {},
  ignored: [],
  locale: "en",
  timezone: "UTC",
  created_at: "2026-01-01T00:00:00Z",
  month: {
    since: "2026-01-01",
    resets_at: "2026-02-01T00:00:00Z",
    conversations: 0,
    messages: 0,
    monthly_messages: 1000,
    tokens_input: 0,
    tokens_output: 0,
    tool_calls: 0,
    cached_answers: 0,
    cost: "0",
  },
  widget_languages: ["en", "de"],
};

test("what the server leaves out is there in a form, at its default", () => {
  assert.deepEqual(widgetOf({}), {
    title: null,
    subtitle: null,
    colors: { primary: null, primary_dark: null },
    logo_url: null,
    position: "right",
    welcome_message: null,
    suggestions: [],
    theme: "auto",
    radius: null,
    launcher_text: null,
  });
  assert.deepEqual(modelOf({}), { provider: null, model: null, temperature: null, fallback: { provider: null, model: null } });
});

test("what was chosen stays, a radius and a temperature of nought too", () => {
  const widget = widgetOf({ colors: { primary: "#c22d1b" }, position: "left", radius: 0, suggestions: ["Menu?"] });
  assert.deepEqual(widget.colors, { primary: "#c22d1b", primary_dark: null });
  assert.equal(widget.position, "left");
  assert.equal(widget.radius, 0);
  assert.deepEqual(widget.suggestions, ["Menu?"]);
  const model = modelOf({ provider: "openai", temperature: 0, fallback: { provider: "anthropic" } });
  assert.equal(model.temperature, 0);
  assert.deepEqual(model.fallback, { provider: "anthropic", model: null });
});

test("only what may be edited goes back, with the version that was seen", () => {
  assert.deepEqual(Object.keys(editOf(CLIENT)).sort(), [
    "allowed_origins",
    "domain",
    "locale",
    "model",
    "name",
    "plan",
    "system_prompt",
    "timezone",
    "version",
    "widget",
  ]);
  assert.equal(editOf(CLIENT).version, 3);
});

test("the same answer gives the same form, so that nothing looks changed", () => {
  assert.deepEqual(editOf(CLIENT), editOf(structuredClone(CLIENT)));
});
