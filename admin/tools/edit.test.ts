import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../core/api.ts";
import { endpointEdit, endpointForm, exampleOf, newTool, objectOf, toolEdit, toolForm, useEdit, useFormOf } from "./edit.ts";
import { pairsOf, recordOf } from "./pairs.ts";

const TOOL = {
  tool_name: "track_order",
  description: "Where an order is",
  category: "orders",
  parameters_schema: { type: "object", properties: { number: { type: "string" } }, required: ["number"] },
  effect: "read_only",
  proof: "verified",
  confirm: true,
  bound: { customer: "visitor.id" },
  label: { en: "Looking" },
  version: 3,
  created_at: "2026-01-01T00:00:00Z",
} as const;

test("a tool that is shown and saved unchanged is the same tool", () => {
  const { tool_name: _, created_at: __, ...definition } = TOOL;
  assert.deepEqual(toolEdit(toolForm({ ...TOOL, parameters_schema: { ...TOOL.parameters_schema } })), definition);
});

test("a look-up that is shown and saved unchanged is the same look-up", () => {
  const { tool_name: _, category: __, created_at: ___, ...common } = TOOL;
  const endpoint = { ...common, endpoint_name: "order", endpoint_url: "/orders/{number}", method: "GET", response_path: "order", cache_ttl: 0 } as const;
  assert.deepEqual(endpointEdit(endpointForm(endpoint)), endpoint);
});

test("a client's use of a tool that is shown and saved unchanged is the same", () => {
  const use = { version: 2, enabled: false, n8n_webhook_url: null, timeout_ms: 900, custom_config: { shop: 7 }, client_proof: "verified", client_confirm: true } as const;
  const shown = { ...TOOL, ...use, url: "https://n8n.example/track_order", signed: true, problem: null };
  assert.deepEqual(useEdit(useFormOf(shown)), use);
});

test("what is no JSON object is refused at its field, as the server would", () => {
  for (const text of ["{", "[1]", "7", "null", '"a"']) {
    assert.throws(() => objectOf(text, "custom_config"), (error) => error instanceof ApiError && error.field === "custom_config" && error.status === 422);
  }
  assert.deepEqual(objectOf("  ", "custom_config"), {});
  assert.throws(() => toolEdit({ ...newTool, parameters_schema: "{,}" }), (error) => error instanceof ApiError && error.field === "parameters_schema");
});

test("pairs without a name are not there yet, and the later of two counts", () => {
  assert.deepEqual(recordOf([["", "a"], [" en ", "b"], ["en", "c"]]), { en: "c" });
  assert.deepEqual(pairsOf({ en: "a", he: "b" }), [["en", "a"], ["he", "b"]]);
});

test("an example has what is required and not filled by the server, of the right type", () => {
  const schema = {
    type: "object",
    properties: {
      number: { type: "string" },
      customer: { type: "string" },
      count: { type: ["integer", "null"] },
      size: { enum: ["s", "m"] },
      place: { type: "string", examples: ["Rome"] },
      gift: { type: "boolean", default: false },
      note: { type: "string" },
    },
    required: ["number", "customer", "count", "size", "place", "gift"],
  };
  assert.deepEqual(exampleOf(schema, { customer: "visitor.id" }), { number: "", count: 1, size: "s", place: "Rome", gift: false });
  assert.deepEqual(exampleOf({}, {}), {});
});
