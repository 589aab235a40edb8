/** What each kind of system is configured with, as inputs, and the configuration that comes of them. */

import type { Option } from "../ui/choice.tsx";
import type { IntegrationKind } from "./kinds.ts";

export type Answers = Readonly<Record<string, string>>;

export interface Ask {
  /** Where it stands in the configuration, such as `auth.token`. */
  path: string;
  label: string;
  hint?: string;
  type?: "text" | "url" | "password" | "number" | "area";
  options?: readonly Option<string>[];
  /** What stands there at first. */
  first?: string;
  optional?: boolean;
  /** Asked only then. */
  when?: (answers: Answers) => boolean;
}

const limit: Ask = { path: "rate_limit", label: "Requests a minute", hint: "What the system allows. Empty: no limit.", type: "number", optional: true };
const auth = (type: string) => (answers: Answers) => answers["auth.type"] === type;

const HTTP: Ask[] = [
  { path: "api_url", label: "Address", hint: "All look-ups lie below it, such as https://api.example.com/v1.", type: "url" },
  {
    path: "auth.type",
    label: "Signing in",
    first: "none",
    options: [
      { value: "none", label: "Open to everybody" },
      { value: "bearer", label: "Bearer token" },
      { value: "api_key", label: "API key" },
      { value: "basic", label: "Name and password" },
      { value: "oauth2", label: "OAuth 2 (client credentials)" },
    ],
  },
  { path: "auth.token", label: "Token", type: "password", when: auth("bearer") },
  { path: "auth.name", label: "Name of the header or parameter", first: "X-API-Key", when: auth("api_key") },
  { path: "auth.value", label: "Key", type: "password", when: auth("api_key") },
  {
    path: "auth.where",
    label: "The key goes into",
    first: "header",
    options: [
      { value: "header", label: "a header" },
      { value: "query", label: "the query" },
    ],
    when: auth("api_key"),
  },
  { path: "auth.username", label: "Name", when: auth("basic") },
  { path: "auth.password", label: "Password", type: "password", when: auth("basic") },
  { path: "auth.token_url", label: "Token address", type: "url", when: auth("oauth2") },
  { path: "auth.client_id", label: "Client id", when: auth("oauth2") },
  { path: "auth.client_secret", label: "Client secret", type: "password", when: auth("oauth2") },
  { path: "auth.scope", label: "Scope", optional: true, when: auth("oauth2") },
  { path: "auth.audience", label: "Audience", optional: true, when: auth("oauth2") },
  limit,
  { path: "test_path", label: "Path for the connection test", hint: "Such as /status. Empty: the address itself.", optional: true },
];

const withToken = ({ how }: Answers) => how !== "app";
const SHOPIFY: Ask[] = [
  { path: "shop", label: "Shop", hint: "Such as bobs-pizza.myshopify.com." },
  {
    path: "how",
    label: "Signing in",
    first: "token",
    options: [
      { value: "token", label: "Access token of a custom app" },
      { value: "app", label: "Client id and secret of an app of the shop's own" },
    ],
  },
  { path: "access_token", label: "Access token", type: "password", when: withToken },
  { path: "client_id", label: "Client id", when: (answers) => !withToken(answers) },
  { path: "client_secret", label: "Client secret", type: "password", when: (answers) => !withToken(answers) },
];

const WOOCOMMERCE: Ask[] = [
  { path: "site_url", label: "Address of the site", type: "url" },
  { path: "consumer_key", label: "Consumer key", hint: "Best one that may only read.", type: "password" },
  { path: "consumer_secret", label: "Consumer secret", type: "password" },
  limit,
];

const DATABASE: Ask[] = [
  { path: "host", label: "Host" },
  { path: "port", label: "Port", hint: "Empty: the usual one.", type: "number", optional: true },
  { path: "database", label: "Database" },
  { path: "user", label: "User", hint: "Best one that may only read." },
  { path: "password", label: "Password", type: "password" },
  {
    path: "tls",
    label: "Encryption",
    first: "verify",
    options: [
      { value: "verify", label: "TLS, the server's certificate is checked" },
      { value: "require", label: "TLS, any certificate" },
      { value: "off", label: "None" },
    ],
  },
  { path: "ca", label: "Certificates to trust", hint: "PEM. Empty: those of this machine.", type: "area", optional: true, when: ({ tls }) => tls === "verify" },
];

export const ASKS: Record<IntegrationKind, readonly Ask[]> = {
  shopify: SHOPIFY,
  woocommerce: WOOCOMMERCE,
  custom_api: HTTP,
  postgres_database: DATABASE,
  mysql_database: DATABASE,
};

/** What is only there to choose between inputs. */
const CHOICES = new Set(["how"]);

export const firstAnswers = (kind: IntegrationKind): Answers => Object.fromEntries(ASKS[kind].map(({ path, first }) => [path, first ?? ""]));

export const asked = (kind: IntegrationKind, answers: Answers): Ask[] => ASKS[kind].filter(({ when }) => !when || when(answers));

/** What a value is called, and how a chosen one reads: as where it was asked for. */
export function told(kind: IntegrationKind, path: string, value: unknown): [string, string] {
  const ask = ASKS[kind].find((each) => each.path === path);
  const name = path.replace(/[._]/g, " ");
  const choice = ask?.options?.find((each) => each.value === value);
  return [ask?.label ?? name[0]!.toUpperCase() + name.slice(1), choice?.label ?? (Array.isArray(value) ? value.join(", ") : String(value))];
}

/** The configuration as the server takes it; what is empty and optional is left out. */
export function configOf(kind: IntegrationKind, answers: Answers): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const { path, type, optional } of asked(kind, answers)) {
    const text = type === "area" || type === "password" ? (answers[path] ?? "") : (answers[path] ?? "").trim();
    if (CHOICES.has(path) || (optional && text === "")) continue;
    const steps = path.split(".");
    const last = steps.pop()!;
    const place = steps.reduce<Record<string, unknown>>((at, step) => (at[step] ??= {}) as Record<string, unknown>, config);
    place[last] = type === "number" ? Number(text) : text;
  }
  return config;
}
