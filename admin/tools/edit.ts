/** Definitions as their forms have them: JSON as its text, objects as pairs. */

import type { CatalogueTool, CatalogueToolEdit, EndpointEdit, EndpointInfo, ToolOfClient, ToolOfClientEdit } from "../core/api.gen.ts";
import { ApiError } from "../core/api.ts";
import type { Binding, Effect, EndpointMethod, Proof } from "./kinds.ts";
import { type Pair, pairsOf, recordOf } from "./pairs.ts";
import { words } from "./words.ts";

export const NO_ARGUMENTS = { type: "object", properties: {} };
export const pretty = (value: unknown): string => JSON.stringify(value, null, 2);

/** The object that a text of JSON is. Throws an ApiError at the field, as the server would. */
export function objectOf(text: string, field: string): Record<string, unknown> {
  const refuse = (message: string) => new ApiError(422, { code: "invalid", message, field });
  let value: unknown;
  try {
    value = JSON.parse(text.trim() || "{}");
  } catch (error) {
    throw refuse(words.notJson((error as Error).message));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refuse(words.notJson("an object begins with {"));
  return value as Record<string, unknown>;
}

/** What a tool of the catalogue and a look-up have in common. */
export interface DefinitionForm {
  description: string;
  parameters_schema: string;
  effect: Effect;
  proof: Proof;
  confirm: boolean;
  bound: Pair<Binding>[];
  label: Pair<string>[];
}

type Common = Pick<CatalogueTool, "description" | "parameters_schema" | "effect" | "proof" | "confirm" | "bound" | "label">;

const commonForm = (given: Common): DefinitionForm => ({
  description: given.description,
  parameters_schema: pretty(given.parameters_schema),
  effect: given.effect,
  proof: given.proof,
  confirm: given.confirm,
  bound: pairsOf(given.bound),
  label: pairsOf(given.label),
});

const commonOf = ({ description, parameters_schema, effect, proof, confirm, bound, label }: DefinitionForm): Common => ({
  description,
  parameters_schema: objectOf(parameters_schema, "parameters_schema"),
  effect,
  proof,
  confirm,
  bound: recordOf(bound),
  label: recordOf(label),
});

const FRESH: DefinitionForm = { description: "", parameters_schema: pretty(NO_ARGUMENTS), effect: "read_only", proof: "session", confirm: false, bound: [], label: [] };

export interface ToolForm extends DefinitionForm {
  version: number | null;
  tool_name: string;
  category: string;
}

export const newTool: ToolForm = { ...FRESH, version: null, tool_name: "", category: "general" };

export const toolForm = (tool: CatalogueTool): ToolForm => ({ ...commonForm(tool), version: tool.version, tool_name: tool.tool_name, category: tool.category });

export const toolEdit = (form: ToolForm): CatalogueToolEdit => ({ ...commonOf(form), version: form.version, category: form.category });

export interface EndpointForm extends DefinitionForm {
  version: number;
  endpoint_name: string;
  endpoint_url: string;
  method: EndpointMethod;
  response_path: string | null;
  cache_ttl: number | null;
}

export const newEndpoint = (database: boolean): EndpointForm => ({
  ...FRESH,
  version: 0,
  endpoint_name: "",
  endpoint_url: "",
  method: database ? "SQL" : "GET",
  response_path: null,
  cache_ttl: 300,
});

export const endpointForm = ({ version, endpoint_name, endpoint_url, method, response_path, cache_ttl, ...common }: EndpointInfo): EndpointForm => ({
  ...commonForm(common),
  version,
  endpoint_name,
  endpoint_url,
  method,
  response_path,
  cache_ttl,
});

export const endpointEdit = ({ version, endpoint_name, endpoint_url, method, response_path, cache_ttl, ...common }: EndpointForm): EndpointEdit => ({
  ...commonOf(common),
  version,
  endpoint_name,
  endpoint_url,
  method,
  response_path,
  cache_ttl: cache_ttl ?? 0,
});

export interface UseForm {
  version: number | null;
  enabled: boolean;
  n8n_webhook_url: string | null;
  timeout_ms: number | null;
  custom_config: string;
  client_proof: Proof | null;
  client_confirm: boolean;
}

export const useFormOf = (tool: ToolOfClient): UseForm => ({
  version: tool.version,
  enabled: tool.enabled,
  n8n_webhook_url: tool.n8n_webhook_url,
  timeout_ms: tool.timeout_ms,
  custom_config: pretty(tool.custom_config),
  client_proof: tool.client_proof,
  client_confirm: tool.client_confirm,
});

/** How a client begins to use a tool. The time limit is the server's own default. */
export const newUse: UseForm = { version: null, enabled: true, n8n_webhook_url: null, timeout_ms: 15_000, custom_config: "{}", client_proof: null, client_confirm: false };

export const useEdit = (form: UseForm): ToolOfClientEdit => ({
  ...form,
  timeout_ms: form.timeout_ms ?? 0,
  custom_config: objectOf(form.custom_config, "custom_config"),
});

/** An example of the arguments that a schema asks for, to begin a trial with. */
export function exampleOf(schema: Readonly<Record<string, unknown>>, bound: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const properties = (schema.properties ?? {}) as Record<string, Record<string, unknown>>;
  const required = Array.isArray(schema.required) ? schema.required : [];
  const wanted = Object.entries(properties).filter(([name]) => required.includes(name) && !(name in bound));
  return Object.fromEntries(wanted.map(([name, each]) => [name, exampleValue(each)]));
}

function exampleValue(schema: Readonly<Record<string, unknown>>): unknown {
  const { enum: choices, default: given, examples, type } = schema;
  if (given !== undefined) return given;
  if (Array.isArray(examples) && examples.length) return examples[0];
  if (Array.isArray(choices) && choices.length) return choices[0];
  const first = Array.isArray(type) ? type[0] : type;
  const plain: Record<string, unknown> = { integer: 1, number: 1, boolean: true, array: [], object: {} };
  return first === undefined || !(String(first) in plain) ? "" : plain[String(first)];
}
