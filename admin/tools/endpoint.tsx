/** One look-up in a client's system, and a new one. */

import { useMemo } from "preact/hooks";
import type { EndpointInfo, EndpointsOfIntegration, IntegrationsOfClient } from "../core/api.gen.ts";
import { del, get, post, put } from "../core/api.ts";
import { nullable, useForm } from "../core/form.ts";
import { useAction, useResource } from "../core/resource.ts";
import { navigate, type PageProps } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { confirm } from "../ui/dialog.tsx";
import { NumberInput, Select, TextArea, TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Page, Section } from "../ui/page.tsx";
import { ErrorBox, Load } from "../ui/show.tsx";
import { toast } from "../ui/toast.tsx";
import { DefinitionFields } from "./definition.tsx";
import { endpointEdit, type EndpointForm, endpointForm, newEndpoint } from "./edit.ts";
import { TrialPanel } from "./trial.tsx";
import { METHODS, words } from "./words.ts";

const { endpoint: said } = words;
const REQUESTS = METHODS.filter((each) => each !== "SQL").map((value) => ({ value, label: value }));

export default function EndpointPage({ params: { client_id, integration_id, name } }: PageProps<"/clients/:client_id/integrations/:integration_id/:name">) {
  const list = `/clients/${client_id}/integrations`;
  const path = `${list}/${integration_id}`;
  const fresh = name === "+new";
  const systems = useResource<IntegrationsOfClient>(list);
  const endpoints = useResource<EndpointsOfIntegration>(fresh ? null : `${path}/endpoints`);
  const system = systems.value?.rows.find((each) => String(each.id) === integration_id);
  const database = system?.integration_type.endsWith("_database") ?? false;
  const found = endpoints.value?.rows.find((each) => each.endpoint_name === name);
  const value = useMemo(() => (fresh ? system && newEndpoint(database) : found && endpointForm(found)), [fresh, system === undefined, database, found]);
  return (
    <Page key={`${path}/${name}`} title={fresh ? said.new : name} back={{ to: path, label: system ? words.integrations.kinds[system.integration_type] : words.integrations.list }}>
      <Load from={systems}>
        {() => (
          <>
            {endpoints.error && <ErrorBox error={endpoints.error} onRetry={() => void endpoints.reload()} />}
            {value && <Definition path={path} value={value} database={database} onSaved={() => void endpoints.reload()} />}
            {!fresh && endpoints.value && !found && <ErrorBox error="There is no such look-up." />}
            {found && <TrialPanel path={`${path}/endpoints/${name}/call`} schema={found.parameters_schema} bound={found.bound} effect={found.effect} />}
            {found && <Delete path={path} name={name} />}
          </>
        )}
      </Load>
    </Page>
  );
}

interface DefinitionProps {
  path: string;
  value: EndpointForm;
  database: boolean;
  onSaved: () => void;
}

function Definition({ path, value, database, onSaved }: DefinitionProps) {
  const fresh = value.version === 0;
  const before = value.endpoint_name;
  const form = useForm<EndpointForm>({
    value,
    async save(typed) {
      const edit = endpointEdit(typed);
      const { version: _, ...created } = edit;
      const saved = fresh ? await post<EndpointInfo>(`${path}/endpoints`, created) : await put<EndpointInfo>(`${path}/endpoints/${before}`, edit);
      toast(words.saved, { tone: "good" });
      return endpointForm(saved);
    },
    async load() {
      const { rows } = await get<EndpointsOfIntegration>(`${path}/endpoints`);
      const now = rows.find((each) => each.endpoint_name === before);
      return now ? endpointForm(now) : value;
    },
    labels: words.labels,
  });
  const { endpoint_name, endpoint_url, method, response_path, cache_ttl } = form.value;
  const submit = async (event: Event) => {
    if (!(await form.submit(event))) return;
    if (form.value.endpoint_name !== before) navigate(`${path}/${form.value.endpoint_name}`, { replace: true });
    else onSaved();
  };
  return (
    <FormView form={form} submit={said.save} quiet={!fresh} onSubmit={(event) => void submit(event)}>
      <Section title={said.where}>
        <TextInput {...form.field("endpoint_name")} label={said.name} hint={said.nameHint} mono required maxLength={64} fd="endpoint-name" />
        {database ? (
          <TextArea {...form.field("endpoint_url")} label={said.sql} hint={said.sqlHint} mono grow rows={4} required fd="endpoint-url" />
        ) : (
          <>
            <Select {...form.field("method")} label={said.method} options={REQUESTS} />
            <TextInput {...form.field("endpoint_url")} label={said.url} hint={said.urlHint} mono required fd="endpoint-url" />
          </>
        )}
        <TextInput {...nullable(form.field("response_path"))} label={said.path} hint={said.pathHint} mono />
        <NumberInput {...form.field("cache_ttl")} label={said.ttl} min={0} max={86_400} step={1} unit="s" />
      </Section>
      <DefinitionFields form={form} rest={{ endpoint_name, endpoint_url, method, response_path, cache_ttl }} check={`${path}/endpoints/check`} />
    </FormView>
  );
}

function Delete({ path, name }: { path: string; name: string }) {
  const forget = useAction(async () => {
    await del(`${path}/endpoints/${name}`);
    navigate(path);
  });
  const ask = async () => {
    if (await confirm({ title: said.deleteAsk, text: said.deleteText, action: said.delete, danger: true })) await forget.run();
  };
  return (
    <Section
      danger
      title={said.deleteTitle}
      hint={said.deleteText}
      actions={
        <Button kind="danger" icon="trash" busy={forget.busy} onClick={() => void ask()} fd="delete-endpoint">
          {said.delete}
        </Button>
      }
    >
      {forget.error && <ErrorBox error={forget.error} />}
    </Section>
  );
}
