/** All clients: plan, state, what they used this month. */

import type { ComponentChildren } from "preact";
import type { ClientRow } from "../core/api.gen.ts";
import { withQuery } from "../core/api.ts";
import { usePages } from "../core/resource.ts";
import { may } from "../core/session.ts";
import { count } from "../core/text.ts";
import { useQuery } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { SearchInput, Select } from "../ui/choice.tsx";
import { Page, Section } from "../ui/page.tsx";
import { Badge, Empty, Foreign, Meter } from "../ui/show.tsx";
import { type Column, Pager, Table } from "../ui/table.tsx";
import { Money, Time } from "../ui/values.tsx";
import { words } from "./words.ts";

const { list } = words;

const STATES = [
  { value: "", label: list.all },
  { value: "active", label: words.active },
  { value: "suspended", label: words.suspended },
];

function used({ month }: ClientRow) {
  const { messages, monthly_messages } = month;
  return (
    <span class="clients-used">
      <span class="number">
        {count(messages)} <small class="hint">{monthly_messages === null ? list.unlimited : list.of(monthly_messages)}</small>
      </span>
      {monthly_messages !== null && <Meter value={messages} limit={monthly_messages} label={list.month} />}
    </span>
  );
}

const COLUMNS: Column<ClientRow>[] = [
  {
    title: words.client,
    main: true,
    cell: ({ name, domain }) => (
      <span class="clients-name">
        <Foreign text={name} />
        <small class="hint">
          <Foreign text={domain} />
        </small>
      </span>
    ),
  },
  {
    title: list.status,
    cell: ({ status }) => (status === "active" ? <Badge tone="good">{words.active}</Badge> : <Badge tone="warn">{words.suspended}</Badge>),
  },
  { title: list.plan, cell: ({ plan }) => plan },
  { title: list.month, cell: used, width: "22%" },
  { title: list.cost, end: true, cell: ({ month }) => <Money usd={month.cost} /> },
  {
    title: list.widget,
    cell: ({ seen_at }) => (seen_at ? <Time at={seen_at} /> : <span class="hint number">{list.unseen}</span>),
  },
];

export default function ClientList() {
  const [query, set] = useQuery();
  const [q, status] = [query.get("q") ?? "", query.get("status") ?? ""];
  const clients = usePages<ClientRow>(withQuery("/clients", { q, status }));
  const add = (fd: string) =>
    may("owner") && (
      <Button kind="primary" icon="plus" to="/clients/new" fd={fd}>
        {list.new}
      </Button>
    );
  const filtered = q !== "" || status !== "";
  return (
    <Page title={words.title} subtitle={list.subtitle} actions={add("new-client")}>
      <div class="clients-filter">
        <SearchInput label={list.search} value={q} onChange={(text) => set({ q: text })} fd="search" />
        <Select label={list.status} hideLabel value={status} options={STATES} onChange={(value) => set({ status: value })} fd="status" />
      </div>
      {(!clients.error || clients.rows.length > 0) && (
        <Section flush>
          <Table
            label={words.title}
            columns={COLUMNS}
            rows={clients.rows}
            keyOf={({ id }) => id}
            to={({ id }) => `/clients/${id}`}
            loading={clients.loading}
            empty={filtered ? <Nothing clear={() => set({ q: null, status: null })} /> : <None action={add("first-client")} />}
          />
        </Section>
      )}
      <Pager pages={clients} />
    </Page>
  );
}

function Nothing({ clear }: { clear: () => void }) {
  return (
    <Empty icon="search" title={list.nothing.title} action={<Button onClick={clear}>{list.clear}</Button>}>
      {list.nothing.text}
    </Empty>
  );
}

const None = ({ action }: { action: ComponentChildren }) => (
  <Empty icon="clients" title={list.empty.title} action={action}>
    {list.empty.text}
  </Empty>
);
