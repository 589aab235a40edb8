/** The draft's form: instructions, model and tools of this chat alone, until they are saved for visitors. */

import type { ClientDetail, Models, PlaygroundSession, ToolsOfClient } from "../core/api.gen.ts";
import { put } from "../core/api.ts";
import { type Fields, type Form, useForm } from "../core/form.ts";
import { type Resource, useAction } from "../core/resource.ts";
import { editOf, type Model } from "../clients/edit.ts";
import { ModelInput } from "../clients/model_input.tsx";
import { words as clientWords } from "../clients/words.ts";
import { Button } from "../ui/button.tsx";
import { confirm } from "../ui/dialog.tsx";
import { Checkbox, NumberInput, TextArea } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Row, Section } from "../ui/page.tsx";
import { ErrorBox, Foreign } from "../ui/show.tsx";
import { toast } from "../ui/toast.tsx";
import { type Draft, savedDraft, sentDraft } from "./draft.ts";
import { words } from "./words.ts";

const { draft: said } = words;

export interface DraftFormProps {
  client: ClientDetail;
  resource: Resource<ClientDetail>;
  tools: ToolsOfClient;
  models: Models;
  session: PlaygroundSession;
  /** What this chat is answered with. */
  used: Draft;
  onUse: (draft: Draft) => void;
}

export function DraftForm({ client, resource, tools, models, session, used, onUse }: DraftFormProps) {
  const saved = savedDraft(client, tools);
  const form: Form<Draft> = useForm<Draft>({
    value: used,
    async save(draft) {
      await put(`/playground/${session.session_id}`, sentDraft(draft, saved));
      onUse(draft);
      return draft;
    },
    labels: clientWords.labels,
  });
  const publish = useAction(async () => {
    const { system_prompt, model } = form.value;
    resource.set(await put<ClientDetail>(`/clients/${client.id}`, { ...editOf(client), system_prompt, model }));
    toast(said.published, { tone: "good" });
  });
  const ask = async () => {
    if (await confirm({ title: said.publishAsk, text: said.publishText, action: said.publish })) await publish.run();
  };
  return (
    <Section title={said.title} hint={said.hint} fd="draft">
      <FormView form={form} quiet submit={said.apply}>
        <TextArea {...form.field("system_prompt")} label={said.prompt} rows={8} grow maxLength={20_000} fd="draft-prompt" />
        <ModelFields model={form.part("model")} models={models} />
        <ToolBoxes form={form} tools={tools} />
      </FormView>
      {publish.error && <ErrorBox error={publish.error} />}
      <Row>
        <Button busy={publish.busy} disabled={form.dirty} title={form.dirty ? said.changed : undefined} onClick={() => void ask()} fd="publish">
          {said.publish}
        </Button>
        <Button kind="quiet" onClick={() => form.set(saved)}>
          {said.back}
        </Button>
      </Row>
    </Section>
  );
}

function ModelFields({ model, models }: { model: Fields<Model>; models: Models }) {
  const own = said.deployment(clientWords.providers[models.default_provider], models.default_model);
  return (
    <>
      <ModelInput at={model} models={models} label={said.model} none={own} fd="draft-model" />
      <ModelInput at={model.part("fallback")} models={models} label={said.fallback} none={said.noFallback} fd="draft-fallback" optional />
      <NumberInput {...model.field("temperature")} label={said.temperature} min={0} max={2} step={0.1} />
    </>
  );
}

function ToolBoxes({ form, tools }: { form: Form<Draft>; tools: ToolsOfClient }) {
  const { tools: on } = form.value;
  const turn = (name: string, yes: boolean) => form.set({ tools: yes ? [...on, name] : on.filter((each) => each !== name) });
  return (
    <fieldset class="field play-tools">
      <legend class="label">{said.tools}</legend>
      {!tools.rows.length && <p class="hint">{said.noTools}</p>}
      {tools.rows.map(({ tool_name, description }) => (
        <Checkbox key={tool_name} label={tool_name} hint={<Foreign text={description} />} value={on.includes(tool_name)} onChange={(yes) => turn(tool_name, yes)} fd={`draft-${tool_name}`} />
      ))}
    </fieldset>
  );
}
