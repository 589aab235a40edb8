/** One system of a client: its connection, whether it works, what the AI may look up there. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { EndpointInfo, EndpointsOfIntegration, IntegrationInfo, IntegrationsOfClient, IntegrationVerdict } from "../core/api.gen.ts";
import { del, post, put } from "../core/api.ts";
import { type Resource, useAction, useResource } from "../core/resource.ts";
import { navigate, type PageProps } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { confirm } from "../ui/dialog.tsx";
import { Facts, Page, Row, Section } from "../ui/page.tsx";
import { Badge, Empty, ErrorBox, Foreign, Load, Notice, Skeleton } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { toast } from "../ui/toast.tsx";
import { Duration } from "../ui/values.tsx";
import { Connect } from "./connect.tsx";
import { told } from "./connection.ts";
import { placeOf, StateMark } from "./integrations.tsx";
import type { IntegrationKind } from "./kinds.ts";
import { EffectMark, ProofMark } from "./marks.tsx";
import { words } from "./words.ts";

const { integrations } = words;

export default function Integration({ params: { client_id, integration_id } }: PageProps<"/clients/:client_id/integrations/:integration_id">) {
  const list = `/clients/${client_id}/integrations`;
  const systems = useResource<IntegrationsOfClient>(list);
  const system = systems.value?.rows.find((each) => String(each.id) === integration_id);
  return (
    <Page
      key={integration_id}
      title={system ? integrations.kinds[system.integration_type] : integrations.list}
      subtitle={system && placeOf(system)}
      badge={system && <StateMark system={system} />}
      back={{ to: list, label: integrations.back }}
    >
      <Load from={systems}>
        {() =>
          system ? (
            <>
              <Connection list={list} system={system} systems={systems} />
              <Endpoints list={list} system={system} />
            </>
          ) : (
            <ErrorBox error="There is no such system." />
          )
        }
      </Load>
    </Page>
  );
}

interface ConnectionProps {
  list: string;
  system: IntegrationInfo;
  systems: Resource<IntegrationsOfClient>;
}

function Connection({ list, system, systems }: ConnectionProps) {
  const path = `${list}/${system.id}`;
  const [open, setOpen] = useState(false);
  const put_ = (enabled: boolean, config: Record<string, unknown> | null) =>
    put<IntegrationInfo>(path, { version: system.version, enabled, config });
  const test = useAction(async () => {
    await post<IntegrationVerdict>(`${path}/test`);
    await systems.reload();
  });
  const pause = useAction(async () => {
    await put_(!system.enabled, null);
    await systems.reload();
  });
  const forget = useAction(async () => {
    await del(path);
    navigate(list);
  });
  const askForget = async () => {
    const { deleteAsk: title, deleteText: text, delete: action } = integrations;
    if (await confirm({ title, text, action, danger: true })) await forget.run();
  };
  const error = test.error ?? pause.error ?? forget.error;
  return (
    <Section title={integrations.connection}>
      {system.problem && <Notice tone="bad">{system.problem}</Notice>}
      {system.connection && <Facts rows={factsOf(system.integration_type, system.connection)} fd="connection" />}
      {system.last_test && <Verdict verdict={system.last_test} />}
      {error && <ErrorBox error={error} />}
      <Row>
        <Button icon="play" kind="primary" busy={test.busy} onClick={() => void test.run()} fd="test-connection">
          {integrations.test}
        </Button>
        <Button icon="edit" onClick={() => setOpen(true)}>
          {integrations.change}
        </Button>
        <Button busy={pause.busy} onClick={() => void pause.run()}>
          {system.enabled ? integrations.pause : integrations.resume}
        </Button>
        <Button kind="danger" icon="trash" busy={forget.busy} onClick={() => void askForget()}>
          {integrations.delete}
        </Button>
      </Row>
      {open && (
        <Connect
          title={integrations.change}
          hint={integrations.changeHint}
          kind={system.integration_type}
          save={(_, config) => put_(system.enabled, config)}
          onDone={() => {
            setOpen(false);
            void systems.reload();
          }}
          onClose={() => setOpen(false)}
        />
      )}
    </Section>
  );
}

const Verdict = ({ verdict: { ok, message, advice, ms } }: { verdict: IntegrationVerdict }) => (
  <Notice tone={ok ? "good" : "bad"} fd="verdict">
    <Foreign text={message} /> <Duration ms={ms} />
    {advice && (
      <p>
        <Foreign text={advice} />
      </p>
    )}
  </Notice>
);

/** A connection without its secrets, one line a value. `below` is the path of what it is a part of. */
function factsOf(kind: IntegrationKind, connection: Record<string, unknown>, below = ""): [string, ComponentChildren][] {
  return Object.entries(connection).flatMap(([name, value]): [string, ComponentChildren][] => {
    if (value === null || value === "" || (Array.isArray(value) && !value.length)) return [];
    if (name === "secrets_set") return [[integrations.secrets, integrations.secretsSet((value as string[]).join(", "))]];
    if (typeof value === "object" && !Array.isArray(value)) return factsOf(kind, value as Record<string, unknown>, `${below}${name}.`);
    const [label, text] = told(kind, below + name, value);
    return [[label, <Foreign text={text} />]];
  });
}

const COLUMNS: Column<EndpointInfo>[] = [
  {
    title: words.name,
    main: true,
    cell: ({ endpoint_name, description }) => (
      <span class="tools-name">
        <code>{endpoint_name}</code>
        <small class="hint">
          <Foreign text={description} />
        </small>
      </span>
    ),
  },
  {
    title: words.endpoint.where,
    narrow: false,
    cell: ({ method, endpoint_url }) => (
      <span class="tools-where">
        <Badge>{method}</Badge> <code class="tools-url">{endpoint_url}</code>
      </span>
    ),
  },
  { title: words.effect, cell: ({ effect }) => <EffectMark effect={effect} /> },
  { title: words.proof, cell: (endpoint) => <ProofMark {...endpoint} /> },
];

function Endpoints({ list, system }: { list: string; system: IntegrationInfo }) {
  const path = `${list}/${system.id}`;
  const endpoints = useResource<EndpointsOfIntegration>(`${path}/endpoints`);
  const preset = useAction(async () => {
    const { rows } = await post<EndpointsOfIntegration>(`${path}/preset`);
    toast(integrations.presetDone(rows.length), { tone: "good" });
    await endpoints.reload();
  });
  const actions = (
    <>
      {system.preset && endpoints.value?.rows.length === 0 && (
        <Button busy={preset.busy} onClick={() => void preset.run()} fd="preset">
          {integrations.preset}
        </Button>
      )}
      <Button icon="plus" to={`${path}/+new`} fd="new-endpoint">
        {integrations.endpointNew}
      </Button>
    </>
  );
  return (
    <Section title={integrations.endpoints} hint={integrations.endpointsHint} actions={actions} flush>
      {preset.error && <ErrorBox error={preset.error} />}
      <Load from={endpoints} skeleton={<Skeleton rows={3} />}>
        {({ rows }) => (
          <Table
            label={integrations.endpoints}
            columns={COLUMNS}
            rows={rows}
            keyOf={({ endpoint_name }) => endpoint_name}
            to={({ endpoint_name }) => `${path}/${endpoint_name}`}
            empty={
              <Empty icon="search" title={integrations.endpointEmpty.title}>
                {integrations.endpointEmpty.text}
              </Empty>
            }
          />
        )}
      </Load>
    </Section>
  );
}
