/** Models as options of a list: each is a provider and a model, either of which may be left to the server. */

import type { ModelChoice, ModelPrice, Models, ProviderInfo } from "../core/api.gen.ts";
import { words } from "./words.ts";

type Choice = Required<ModelChoice>;
type Provider = ProviderInfo["name"];

export interface ModelOption {
  value: string;
  label: string;
}

/** No provider and no model. */
const NONE = "";
/** Behind a provider's name: a model that the list does not have. */
const OTHER = "\n";

/** Dollars for a million tokens, with the digits that it has: 0.15, 2.50, 15. */
export function perMillion(usd: string): string {
  const value = Number(usd);
  return `$${Number.isInteger(value) ? value : value.toFixed(Math.max(2, (String(value).split(".")[1] ?? "").length))}`;
}

export const priceText = (price: ModelPrice): string => words.price(perMillion(price.input_per_million), perMillion(price.output_per_million));

const name = (provider: Provider) => words.providers[provider];

function ofProvider({ name: provider, default_model, models }: ProviderInfo): ModelOption[] {
  const known = models.map(({ model, price }) => ({
    value: `${provider} ${model}`,
    label: `${name(provider)} · ${model}${price ? ` · ${priceText(price)}` : ""}`,
  }));
  const own = default_model ? [{ value: `${provider} `, label: words.providerDefault(name(provider), default_model) }] : [];
  return [...own, ...known, ...(provider === "demo" ? [] : [{ value: provider + OTHER, label: words.otherModel(name(provider)) }])];
}

/** All that may be chosen. `none` is what it means to choose nothing. */
export function optionsOf(models: Models, none: string): ModelOption[] {
  return [{ value: NONE, label: none }, ...models.providers.flatMap(ofProvider)];
}

/** The option that stands for a choice. A model that is not known is written into a field of its own. */
export function valueOf({ provider, model }: Choice, models: Models): string {
  if (!provider && model === null) return NONE;
  const by = provider ?? models.default_provider;
  if (model === null) return `${by} `;
  const known = models.providers.find((each) => each.name === by)?.models.some((each) => each.model === model);
  return known ? `${by} ${model}` : by + OTHER;
}

export function choiceOf(value: string): Choice {
  if (value === NONE) return { provider: null, model: null };
  const [provider, model] = value.split(/[ \n]/, 2) as [Provider, string];
  if (value.endsWith(OTHER)) return { provider, model: "" };
  return { provider, model: model || null };
}

export const isOther = (value: string): boolean => value.endsWith(OTHER);

/** What the chosen one costs; undefined where nobody said. */
export function priceOf({ provider, model }: Choice, models: Models): ModelPrice | undefined {
  const info = models.providers.find((each) => each.name === (provider ?? models.default_provider));
  const wanted = model ?? (provider ? info?.default_model : models.default_model);
  return info?.models.find((each) => each.model === wanted)?.price ?? undefined;
}
