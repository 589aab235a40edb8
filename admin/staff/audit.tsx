/** The audit log: who changed what, and when. */

import type { AuditRow, ClientPage, OperatorPage } from "../core/api.gen.ts";
import { withQuery } from "../core/api.ts";
import { usePages, useResource } from "../core/resource.ts";
import { useMe } from "../core/session.ts";
import { useQuery } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { SearchInput, Select } from "../ui/choice.tsx";
import { Json } from "../ui/code.tsx";
import { Page, Section } from "../ui/page.tsx";
import { Empty, Foreign } from "../ui/show.tsx";
import { type Column, Pager, Table } from "../ui/table.tsx";
import { Time } from "../ui/values.tsx";
import { StaffTabs } from "./tabs.tsx";
import { words } from "./words.ts";

const { audit } = words;
/** So many names a list offers; others come by their number in the page's address. */
const MOST = 100;

export default function Audit() {
  const [query, set] = useQuery();
  const [client, operator, action] = ["client", "operator", "action"].map((name) => query.get(name) ?? "") as [string, string, string];
  const entries = usePages<AuditRow>(withQuery("/audit", { client_id: client, operator_id: operator, action }));
  const clear = () => set({ client: null, operator: null, action: null });
  const filtered = client || operator || action;
  const empty = filtered ? (
    <Empty icon="search" title={audit.nothing.title} action={<Button onClick={clear}>{audit.clear}</Button>}>
      {audit.nothing.text}
    </Empty>
  ) : (
    <Empty icon="note" title={audit.empty.title}>
      {audit.empty.text}
    </Empty>
  );
  return (
    <Page title={words.title} subtitle={audit.subtitle}>
      <StaffTabs value="audit" />
      <Filters client={client} operator={operator} action={action} />
      {(!entries.error || entries.rows.length > 0) && (
        <Section flush>
          <Table
            label={words.tabs.audit}
            columns={columns((chosen) => set({ action: chosen }))}
            rows={entries.rows}
            keyOf={({ id }) => id}
            loading={entries.loading}
            empty={empty}
          />
        </Section>
      )}
      <Pager pages={entries} />
    </Page>
  );
}

function Filters({ client, operator, action }: { client: string; operator: string; action: string }) {
  const [, set] = useQuery();
  const me = useMe();
  const operators = useResource<OperatorPage>(withQuery("/operators", { limit: MOST }));
  const clients = useResource<ClientPage>(me.client_id === null ? withQuery("/clients", { limit: MOST }) : null);
  const people = optionsOf(operators.value?.rows, operator, audit.everybody);
  return (
    <div class="staff-filters" role="search">
      <Select label={audit.operator} value={operator} options={people} onChange={(value) => set({ operator: value })} fd="operator" />
      {me.client_id === null && (
        <Select label={words.client} value={client} options={optionsOf(clients.value?.rows, client, words.all)} onChange={(value) => set({ client: value })} fd="client" />
      )}
      <div class="staff-action">
        <span class="label" aria-hidden="true">
          {audit.action}
        </span>
        <SearchInput label={audit.action} placeholder="operator.create" value={action} onChange={(value) => set({ action: value.trim() })} fd="action" />
      </div>
    </div>
  );
}

function optionsOf(rows: readonly { id: number; name: string }[] | undefined, chosen: string, all: string): { value: string; label: string }[] {
  const known = (rows ?? []).map(({ id, name }) => ({ value: String(id), label: name }));
  if (chosen && !known.some(({ value }) => value === chosen)) known.push({ value: chosen, label: `#${chosen}` });
  known.sort((a, b) => a.label.localeCompare(b.label));
  return [{ value: "", label: all }, ...known];
}

const columns = (choose: (action: string) => void): Column<AuditRow>[] => [
  {
    title: audit.what,
    main: true,
    cell: ({ action }) => (
      <button type="button" class="staff-what" title={audit.only(action)} onClick={() => choose(action)}>
        <code>{action}</code>
      </button>
    ),
  },
  { title: audit.when, cell: ({ created_at }) => <Time at={created_at} /> },
  { title: audit.who, cell: ({ operator_id, operator_name }) => <Who id={operator_id} name={operator_name} /> },
  {
    title: audit.target,
    cell: ({ target_type, target_id }) => (
      <bdi>
        {target_type} <code class="staff-target">{target_id}</code>
      </bdi>
    ),
  },
  { title: words.client, cell: ({ client_name }) => (client_name === null ? <span class="hint">{audit.installation}</span> : <Foreign text={client_name} />) },
  { title: audit.details, cell: ({ details }) => <Details details={details} /> },
];

function Who({ id, name }: { id: number | null; name: string | null }) {
  if (name !== null) return <Foreign text={name} />;
  return <span class="hint">{id === null ? audit.cli : `#${id}`}</span>;
}

function Details({ details }: { details: AuditRow["details"] }) {
  if (!Object.keys(details).length) return <>–</>;
  return (
    <details class="staff-details">
      <summary>{Object.keys(details).join(", ")}</summary>
      <Json value={details} label={audit.details} />
    </details>
  );
}
