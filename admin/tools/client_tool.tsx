/** How one client uses one tool: settings, signing secret, a trial. */

import { useMemo, useState } from "preact/hooks";
import type { CatalogueTool, SigningSecret, ToolOfClient, ToolOfClientSaved, ToolsOfClient } from "../core/api.gen.ts";
import { get, post, put } from "../core/api.ts";
import { nullable, useForm } from "../core/form.ts";
import { type Resource, useAction, useResource } from "../core/resource.ts";
import type { PageProps } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { confirm, Once } from "../ui/dialog.tsx";
import { Checkbox, NumberInput, Select, TextArea, TextInput, Toggle } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Page, Row, Section } from "../ui/page.tsx";
import { Badge, ErrorBox, Load, Notice } from "../ui/show.tsx";
import { PROOFS } from "./definition.tsx";
import { newUse, useEdit, type UseForm, useFormOf } from "./edit.ts";
import type { Proof } from "./kinds.ts";
import { TrialPanel } from "./trial.tsx";
import { words } from "./words.ts";

const { ofClient } = words;

export default function ClientTool({ params: { client_id, name } }: PageProps<"/clients/:client_id/tools/:name">) {
  const tool = useResource<CatalogueTool>(`/tools/${name}`);
  const uses = useResource<ToolsOfClient>(`/clients/${client_id}/tools`);
  const use = uses.value?.rows.find((each) => each.tool_name === name) ?? null;
  const path = `/clients/${client_id}/tools/${name}`;
  return (
    <Page
      key={path}
      title={name}
      subtitle={tool.value?.description}
      badge={use?.signed && <Badge tone="good">{ofClient.signed}</Badge>}
      back={{ to: `/clients/${client_id}/tools`, label: ofClient.back }}
    >
      <Load from={tool}>
        {(definition) => (
          <Load from={uses}>
            {() => (
              <>
                {use?.problem && use.enabled && <Notice tone="warn">{use.problem}</Notice>}
                <Use path={path} tool={definition} use={use} uses={uses} />
                {use && <TrialPanel path={`${path}/call`} schema={definition.parameters_schema} bound={definition.bound} effect={definition.effect} />}
              </>
            )}
          </Load>
        )}
      </Load>
    </Page>
  );
}

interface UseProps {
  path: string;
  tool: CatalogueTool;
  use: ToolOfClient | null;
  uses: Resource<ToolsOfClient>;
}

function Use({ path, tool, use, uses }: UseProps) {
  const [secret, setSecret] = useState<string | null>(null);
  const value = useMemo(() => (use ? useFormOf(use) : newUse), [use]);
  const form = useForm<UseForm>({
    value,
    async save(typed) {
      const saved = await put<ToolOfClientSaved>(path, useEdit(typed));
      if (saved.signing_secret) setSecret(saved.signing_secret);
      await uses.reload();
      return useFormOf(saved.tool);
    },
    async load() {
      const { rows } = await get<ToolsOfClient>(path.slice(0, path.lastIndexOf("/")));
      const now = rows.find((each) => each.tool_name === tool.tool_name);
      return now ? useFormOf(now) : newUse;
    },
    labels: words.labels,
  });
  const rotate = useAction(async () => setSecret((await post<SigningSecret>(`${path}/rotate-secret`)).signing_secret));
  const askRotate = async () => {
    if (await confirm({ title: ofClient.rotateAsk, text: ofClient.rotateText, action: ofClient.rotate, danger: true })) await rotate.run();
  };
  const proofs: { value: Proof | null; label: string }[] = [{ value: null, label: ofClient.proofAsCatalogue(words.proofs[tool.proof]) }, ...PROOFS];
  return (
    <FormView form={form} quiet={use !== null} submit={use ? undefined : ofClient.enabled}>
      <Section title={ofClient.settings} hint={ofClient.stricter}>
        <Toggle {...form.field("enabled")} label={ofClient.enabled} />
        <TextInput {...nullable(form.field("n8n_webhook_url"))} label={ofClient.webhook} hint={ofClient.webhookHint} type="url" fd="webhook" />
        <NumberInput {...form.field("timeout_ms")} label={words.labels.timeout_ms} min={100} max={120_000} step={100} unit="ms" />
        <Select {...form.field("client_proof")} label={words.proof} options={proofs} />
        <Checkbox {...form.field("client_confirm")} label={words.confirm} hint={tool.confirm ? ofClient.confirmAlready : words.confirmHint} />
        <TextArea {...form.field("custom_config")} label={ofClient.config} hint={ofClient.configHint} mono grow rows={3} />
        {use && (
          <Row>
            <Button icon="key" busy={rotate.busy} onClick={() => void askRotate()} fd="rotate-secret">
              {ofClient.rotate}
            </Button>
            {rotate.error && <ErrorBox error={rotate.error} />}
          </Row>
        )}
      </Section>
      {secret && (
        <Once title={ofClient.secretTitle(tool.tool_name)} text={ofClient.secretText} secrets={[{ label: ofClient.secret, value: secret }]} onClose={() => setSecret(null)} />
      )}
    </FormView>
  );
}
