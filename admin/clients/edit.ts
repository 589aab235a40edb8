/** A client as its forms have it: every field is there, and what is not set is null. */

import { useMemo } from "preact/hooks";
import type { ClientDetail, ClientEdit, Colors, ModelChoice, ModelConfig, WidgetConfig } from "../core/api.gen.ts";
import { get, put } from "../core/api.ts";
import { useForm, type Form } from "../core/form.ts";
import type { Resource } from "../core/resource.ts";
import { words } from "./words.ts";

export interface Widget extends Required<WidgetConfig> {
  colors: Required<Colors>;
}

export interface Model extends Required<ModelConfig> {
  /** Without provider and model there is none. */
  fallback: Required<ModelChoice>;
}

export interface Edit extends ClientEdit {
  widget: Widget;
  model: Model;
}

export const widgetOf = (given: WidgetConfig): Widget => ({
  title: given.title ?? null,
  subtitle: given.subtitle ?? null,
  colors: { primary: given.colors?.primary ?? null, primary_dark: given.colors?.primary_dark ?? null },
  logo_url: given.logo_url ?? null,
  position: given.position ?? "right",
  welcome_message: given.welcome_message ?? null,
  suggestions: given.suggestions ?? [],
  theme: given.theme ?? "auto",
  radius: given.radius ?? null,
  launcher_text: given.launcher_text ?? null,
});

export const modelOf = (given: ModelConfig): Model => ({
  provider: given.provider ?? null,
  model: given.model ?? null,
  temperature: given.temperature ?? null,
  fallback: { provider: given.fallback?.provider ?? null, model: given.fallback?.model ?? null },
});

/** What may be edited of a client, and the version that was seen. */
export const editOf = (client: ClientDetail): Edit => ({
  version: client.version,
  name: client.name,
  domain: client.domain,
  allowed_origins: client.allowed_origins,
  plan: client.plan,
  system_prompt: client.system_prompt,
  model: modelOf(client.model),
  widget: widgetOf(client.widget),
  locale: client.locale,
  timezone: client.timezone,
});

/** A form over all of a client that may be edited, whatever part of it a page shows: it is saved as a whole. */
export function useClientForm(client: ClientDetail, resource: Resource<ClientDetail>): Form<Edit> {
  const path = `/clients/${client.id}`;
  const value = useMemo(() => editOf(client), [client]);
  return useForm<Edit>({
    value,
    async save(edit) {
      const saved = await put<ClientDetail>(path, edit);
      resource.set(saved);
      return editOf(saved);
    },
    load: async () => editOf(await get<ClientDetail>(path)),
    labels: words.labels,
  });
}
