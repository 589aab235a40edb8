import assert from "node:assert/strict";
import { test } from "node:test";
import type { Models } from "../core/api.gen.ts";
import { choiceOf, isOther, optionsOf, perMillion, priceOf, valueOf } from "./choice.ts";

const price = (input: string, output: string) => ({
  input_per_million: input,
  cached_input_per_million: null,
  output_per_million: output,
  valid_from: "2026-01-01",
});
const MODELS: Models = {
  default_provider: "openai",
  default_model: "small",
  providers: [
    {
      name: "openai",
      default_model: "small",
      models: [
        { model: "large", window: 100, price: price("2.5", "10") },
        { model: "small", window: 100, price: price("0.150", "0.6") },
      ],
    },
    { name: "ollama", default_model: null, models: [{ model: "library/llama3.2:3b", window: 100, price: null }] },
    { name: "demo", default_model: "demo", models: [] },
  ],
};

test("every option gives the choice that gives the option again", () => {
  for (const { value } of optionsOf(MODELS, "none")) assert.equal(valueOf(choiceOf(value), MODELS), value, JSON.stringify(value));
});

test("options are distinct, and the first one is no choice", () => {
  const options = optionsOf(MODELS, "none");
  assert.equal(new Set(options.map(({ value }) => value)).size, options.length);
  assert.deepEqual(choiceOf(options[0]!.value), { provider: null, model: null });
});

test("a provider without a model of its own cannot be chosen without one, and the demo takes no other", () => {
  const values = optionsOf(MODELS, "none").map(({ value }) => value);
  assert.ok(!values.includes("ollama "));
  assert.ok(!values.some((value) => value.startsWith("demo") && isOther(value)));
});

test("a model that is not in the list is a model to be written", () => {
  const value = valueOf({ provider: "openai", model: "brand-new" }, MODELS);
  assert.ok(isOther(value));
  assert.ok(!isOther(valueOf({ provider: "openai", model: "large" }, MODELS)));
});

test("a model without a provider is the deployment's own provider's", () => {
  assert.equal(valueOf({ provider: null, model: "large" }, MODELS), "openai large");
});

test("the price is that of the model that answers", () => {
  assert.equal(priceOf({ provider: null, model: null }, MODELS)?.output_per_million, "0.6");
  assert.equal(priceOf({ provider: "openai", model: "large" }, MODELS)?.output_per_million, "10");
  assert.equal(priceOf({ provider: "ollama", model: "library/llama3.2:3b" }, MODELS), undefined);
});

test("a price has the digits that it has, cents at least", () => {
  assert.deepEqual(["0.150", "2.5", "15.0000000000", "0.0375"].map(perMillion), ["$0.15", "$2.50", "$15", "$0.0375"]);
});
