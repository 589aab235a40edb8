/** What answers for a client: its instructions and its models. */

import type { ClientDetail, Models } from "../core/api.gen.ts";
import type { Fields } from "../core/form.ts";
import { type Resource, useResource } from "../core/resource.ts";
import { short } from "../core/text.ts";
import type { PageProps } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { NumberInput, TextArea } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Section } from "../ui/page.tsx";
import { Load } from "../ui/show.tsx";
import { useClientForm, type Model } from "./edit.ts";
import { ClientFrame } from "./frame.tsx";
import { ModelInput } from "./model_input.tsx";
import { words } from "./words.ts";

const { assistant } = words;
const MAX_PROMPT = 20_000;
/** Characters a token, roughly, in English. */
const PER_TOKEN = 4;

export default function Assistant({ params }: PageProps<"/clients/:client_id/assistant">) {
  const { client_id } = params;
  const models = useResource<Models>("/models");
  const button = (
    <Button icon="playground" to={`/clients/${client_id}/playground`} title={assistant.tryHint}>
      {assistant.try}
    </Button>
  );
  return (
    <ClientFrame key={client_id} client_id={client_id} tab="assistant" actions={button}>
      {(client, resource) => <Load from={models}>{(known) => <Form client={client} resource={resource} models={known} />}</Load>}
    </ClientFrame>
  );
}

function Form({ client, resource, models }: { client: ClientDetail; resource: Resource<ClientDetail>; models: Models }) {
  const form = useClientForm(client, resource);
  const { length } = form.value.system_prompt;
  return (
    <FormView form={form}>
      <Section title={assistant.prompt} hint={assistant.promptHint}>
        <div class="clients-prompt">
          <TextArea
            {...form.field("system_prompt")}
            label={assistant.promptField}
            hint={assistant.length(length, MAX_PROMPT, short(Math.ceil(length / PER_TOKEN)))}
            placeholder={assistant.placeholder}
            rows={14}
            grow
            fd="prompt"
          />
        </div>
      </Section>
      <ModelSection model={form.part("model")} models={models} />
    </FormView>
  );
}

function ModelSection({ model, models }: { model: Fields<Model>; models: Models }) {
  const own = assistant.deployment(words.providers[models.default_provider], models.default_model);
  return (
    <Section title={assistant.model} hint={assistant.modelHint}>
      <ModelInput at={model} models={models} label={assistant.choice} none={own} fd="model" />
      <ModelInput at={model.part("fallback")} models={models} label={assistant.fallback} hint={assistant.fallbackHint} none={assistant.noFallback} fd="fallback" optional />
      <NumberInput {...model.field("temperature")} label={assistant.temperature} hint={assistant.temperatureHint} min={0} max={2} step={0.1} fd="temperature" />
    </Section>
  );
}
