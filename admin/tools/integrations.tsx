/** A client's own systems. */

import { useState } from "preact/hooks";
import type { IntegrationInfo, IntegrationsOfClient } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { useResource } from "../core/resource.ts";
import { navigate, type PageProps } from "../router.ts";
import { ClientFrame } from "../clients/frame.tsx";
import { Button } from "../ui/button.tsx";
import { Section } from "../ui/page.tsx";
import { Badge, Empty, Foreign, Load, Skeleton } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Time } from "../ui/values.tsx";
import { Connect } from "./connect.tsx";
import { words } from "./words.ts";

const { integrations } = words;

/** Where a system is: what of its connection a person knows it by. */
export const placeOf = ({ connection }: IntegrationInfo): string => {
  const at = connection?.shop ?? connection?.site_url ?? connection?.api_url ?? connection?.host;
  return typeof at === "string" ? at : "";
};

export function StateMark({ system: { enabled, problem, last_test } }: { system: IntegrationInfo }) {
  if (problem) return <Badge tone="bad">{integrations.problem}</Badge>;
  if (!enabled) return <Badge tone="warn">{integrations.paused}</Badge>;
  if (!last_test) return <Badge>{integrations.untested}</Badge>;
  return last_test.ok ? <Badge tone="good">{integrations.works}</Badge> : <Badge tone="bad">{integrations.broken}</Badge>;
}

const COLUMNS: Column<IntegrationInfo>[] = [
  {
    title: integrations.kind,
    main: true,
    cell: (system) => (
      <span class="tools-name">
        {integrations.kinds[system.integration_type]}
        <small class="hint">
          <Foreign text={placeOf(system)} />
        </small>
      </span>
    ),
  },
  { title: integrations.state, cell: (system) => <StateMark system={system} /> },
  { title: integrations.lookups, end: true, cell: ({ endpoints }) => endpoints },
  { title: integrations.tested, end: true, cell: ({ last_test_at }) => (last_test_at ? <Time at={last_test_at} /> : <span class="hint">{integrations.never}</span>) },
];

export default function Integrations({ params: { client_id } }: PageProps<"/clients/:client_id/integrations">) {
  return (
    <ClientFrame key={client_id} client_id={client_id} tab="integrations">
      {() => <Systems client_id={client_id} />}
    </ClientFrame>
  );
}

function Systems({ client_id }: { client_id: string }) {
  const path = `/clients/${client_id}/integrations`;
  const systems = useResource<IntegrationsOfClient>(path);
  const [open, setOpen] = useState(false);
  const add = (
    <Button kind="primary" icon="plus" onClick={() => setOpen(true)} fd="new-integration">
      {integrations.connect}
    </Button>
  );
  return (
    <Section title={integrations.list} hint={integrations.hint} actions={add} flush>
      <Load from={systems} skeleton={<Skeleton rows={3} />}>
        {({ rows }) => (
          <Table
            label={integrations.list}
            columns={COLUMNS}
            rows={rows}
            keyOf={({ id }) => id}
            to={({ id }) => `${path}/${id}`}
            empty={
              <Empty icon="database" title={integrations.empty.title}>
                {integrations.empty.text}
              </Empty>
            }
          />
        )}
      </Load>
      {open && (
        <Connect
          title={integrations.connect}
          save={(integration_type, config) => post<IntegrationInfo>(path, { integration_type, config })}
          onDone={({ id }) => navigate(`${path}/${id}`)}
          onClose={() => setOpen(false)}
        />
      )}
    </Section>
  );
}
