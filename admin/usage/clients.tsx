/** Every client's sums over the period. */

import type { UsageByClient, UsageOfClient } from "../core/api.gen.ts";
import { withQuery } from "../core/api.ts";
import type { Resource } from "../core/resource.ts";
import { Section } from "../ui/page.tsx";
import { Badge, Empty, Foreign, Load, Skeleton } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Count, Money } from "../ui/values.tsx";
import type { Period } from "./period.ts";
import { words } from "./words.ts";

const { amounts } = words;

const COLUMNS: Column<UsageOfClient>[] = [
  {
    title: words.client,
    main: true,
    cell: ({ name, status }) => (
      <>
        <Foreign text={name} /> {status === "suspended" && <Badge tone="warn">{words.suspended}</Badge>}
      </>
    ),
  },
  { title: words.plan, cell: ({ plan }) => plan },
  { title: amounts.conversations, end: true, cell: ({ used }) => <Count n={used.conversations} /> },
  { title: amounts.messages, end: true, cell: ({ used }) => <Count n={used.messages} /> },
  { title: amounts.tokens, end: true, cell: ({ used }) => <Count n={used.tokens_input + used.tokens_output} /> },
  { title: amounts.tool_calls, end: true, cell: ({ used }) => <Count n={used.tool_calls} /> },
  { title: amounts.cached_answers, end: true, narrow: false, cell: ({ used }) => <Count n={used.cached_answers} /> },
  { title: amounts.cost, end: true, cell: ({ used }) => <Money usd={used.cost} /> },
];

/** Each row leads to that client's own report, over the same days. */
export function ClientsTable({ clients, period }: { clients: Resource<UsageByClient>; period: Period }) {
  const { name, from, to } = period;
  const days = name === "custom" ? { from, to } : {};
  return (
    <Section title={words.clients} hint={words.clientsHint} flush>
      <Load from={clients} skeleton={<Skeleton rows={4} />}>
        {({ rows }) => (
          <Table
            label={words.clients}
            columns={COLUMNS}
            rows={rows}
            keyOf={({ client_id }) => String(client_id)}
            to={({ client_id }) => withQuery("/usage", { period: name, ...days, client: client_id })}
            empty={<Empty title={words.noClients} />}
          />
        )}
      </Load>
    </Section>
  );
}
