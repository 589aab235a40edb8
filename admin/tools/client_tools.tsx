/** What a client uses of the catalogue, and where its tools are called. */

import { useState } from "preact/hooks";
import type { BaseUrl, Catalogue, CatalogueTool, ToolOfClient, ToolOfClientSaved, ToolsOfClient } from "../core/api.gen.ts";
import { get, put } from "../core/api.ts";
import { type Form, nullable, useForm } from "../core/form.ts";
import { type Resource, useAction, useResource } from "../core/resource.ts";
import type { PageProps } from "../router.ts";
import { ClientFrame } from "../clients/frame.tsx";
import { Once } from "../ui/dialog.tsx";
import { TextInput, Toggle } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Section } from "../ui/page.tsx";
import { Badge, Empty, ErrorBox, Foreign, Load, Skeleton } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { newUse, useEdit, useFormOf } from "./edit.ts";
import { EffectMark, ProofMark } from "./marks.tsx";
import { words } from "./words.ts";

const { ofClient } = words;

/** A tool of the catalogue, and what the client makes of it, if anything. */
interface Line {
  tool: CatalogueTool;
  use: ToolOfClient | null;
}

export default function ClientTools({ params: { client_id } }: PageProps<"/clients/:client_id/tools">) {
  return (
    <ClientFrame key={client_id} client_id={client_id} tab="tools">
      {() => <Tools client_id={client_id} />}
    </ClientFrame>
  );
}

function Tools({ client_id }: { client_id: string }) {
  const path = `/clients/${client_id}/tools`;
  const uses = useResource<ToolsOfClient>(path);
  const catalogue = useResource<Catalogue>("/tools");
  return (
    <>
      <Load from={uses}>{({ webhook_base_url }) => <Base client_id={client_id} value={webhook_base_url} uses={uses} />}</Load>
      <Section title={ofClient.list} hint={ofClient.listHint} flush>
        <Load from={catalogue} skeleton={<Skeleton rows={5} />}>
          {({ rows }) => uses.value && <Lines client_id={client_id} lines={linesOf(rows, uses.value.rows)} uses={uses} />}
        </Load>
      </Section>
    </>
  );
}

const linesOf = (catalogue: readonly CatalogueTool[], uses: readonly ToolOfClient[]): Line[] =>
  catalogue.map((tool) => ({ tool, use: uses.find((each) => each.tool_name === tool.tool_name) ?? null }));

interface BaseForm {
  webhook_base_url: string | null;
}

function Base({ client_id, value, uses }: { client_id: string; value: string | null; uses: Resource<ToolsOfClient> }) {
  const form: Form<BaseForm> = useForm<BaseForm>({
    value: { webhook_base_url: value },
    async save({ webhook_base_url }) {
      const saved = await put<BaseUrl>(`/clients/${client_id}/base-url`, { webhook_base_url, was: form.base.webhook_base_url });
      await uses.reload();
      return saved;
    },
    load: async () => ({ webhook_base_url: (await get<ToolsOfClient>(`/clients/${client_id}/tools`)).webhook_base_url }),
  });
  return (
    <FormView form={form} quiet>
      <Section title={ofClient.base} hint={ofClient.baseHint}>
        <TextInput {...nullable(form.field("webhook_base_url"))} label={ofClient.baseField} type="url" placeholder="https://n8n.example.com/webhook" fd="base-url" />
      </Section>
    </FormView>
  );
}

function Lines({ client_id, lines, uses }: { client_id: string; lines: Line[]; uses: Resource<ToolsOfClient> }) {
  const [shown, setShown] = useState<{ name: string; secret: string } | null>(null);
  const turn = useAction(async ({ tool: { tool_name }, use }: Line, enabled: boolean) => {
    const edit = useEdit({ ...(use ? useFormOf(use) : newUse), enabled });
    const saved = await put<ToolOfClientSaved>(`/clients/${client_id}/tools/${tool_name}`, edit);
    if (saved.signing_secret) setShown({ name: tool_name, secret: saved.signing_secret });
    await uses.reload();
  });
  const columns: Column<Line>[] = [
    {
      title: words.name,
      main: true,
      cell: ({ tool }) => (
        <span class="tools-name">
          <code>{tool.tool_name}</code>
          <small class="hint">
            <Foreign text={tool.description} />
          </small>
        </span>
      ),
    },
    { title: words.effect, cell: ({ tool }) => <EffectMark effect={tool.effect} /> },
    { title: words.proof, cell: ({ tool, use }) => <ProofMark {...(use ?? tool)} />, narrow: false },
    { title: ofClient.where, cell: ({ use }) => <Where use={use} /> },
    {
      title: ofClient.on,
      end: true,
      cell: (line) => (
        <Toggle
          label={`${line.tool.tool_name}: ${ofClient.enabled}`}
          hideLabel
          value={line.use?.enabled ?? false}
          disabled={turn.busy}
          onChange={(on) => void turn.run(line, on)}
          fd={`on-${line.tool.tool_name}`}
        />
      ),
    },
  ];
  return (
    <>
      {turn.error && <ErrorBox error={turn.error} />}
      <Table
        label={ofClient.list}
        columns={columns}
        rows={lines}
        keyOf={({ tool }) => tool.tool_name}
        to={({ tool }) => `/clients/${client_id}/tools/${tool.tool_name}`}
        empty={
          <Empty icon="tools" title={ofClient.emptyList.title}>
            {ofClient.emptyList.text}
          </Empty>
        }
      />
      {shown && (
        <Once title={ofClient.secretTitle(shown.name)} text={ofClient.secretText} secrets={[{ label: ofClient.secret, value: shown.secret }]} onClose={() => setShown(null)} />
      )}
    </>
  );
}

function Where({ use }: { use: ToolOfClient | null }) {
  if (!use) return <span class="hint">{ofClient.never}</span>;
  return (
    <span class="tools-name">
      {use.url ? <code class="tools-url">{use.url}</code> : <span class="hint">{ofClient.nowhere}</span>}
      {use.problem && (
        <Badge tone="warn" title={use.problem}>
          {use.problem}
        </Badge>
      )}
    </span>
  );
}
