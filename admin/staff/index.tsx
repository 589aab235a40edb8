/** Operators: who may sign in. */

import { useState } from "preact/hooks";
import type { OperatorRow } from "../core/api.gen.ts";
import { type Pages, usePages } from "../core/resource.ts";
import { useMe } from "../core/session.ts";
import { Button } from "../ui/button.tsx";
import { Page, Section } from "../ui/page.tsx";
import { Badge, Empty, ErrorBox, Foreign } from "../ui/show.tsx";
import { type Column, Pager, Table } from "../ui/table.tsx";
import { Time } from "../ui/values.tsx";
import { Actions } from "./actions.tsx";
import { NewOperator } from "./new.tsx";
import { type Secret, SecretOnce } from "./secret.tsx";
import { StaffTabs } from "./tabs.tsx";
import { words } from "./words.ts";

export default function Staff() {
  const operators = usePages<OperatorRow>("/operators");
  const [adding, setAdding] = useState(false);
  const [secret, setSecret] = useState<Secret | null>(null);
  const add = (
    <Button kind="primary" icon="plus" onClick={() => setAdding(true)} fd="new-operator">
      {words.add}
    </Button>
  );
  return (
    <Page title={words.title} subtitle={words.subtitle} actions={add}>
      <StaffTabs value="operators" />
      <Rows operators={operators} onSecret={setSecret} />
      <Pager pages={operators} />
      {adding && (
        <NewOperator
          onClose={() => setAdding(false)}
          onMade={(operator, shown) => {
            setAdding(false);
            operators.set((rows) => [operator, ...rows]);
            setSecret(shown);
          }}
        />
      )}
      {secret && <SecretOnce secret={secret} onClose={() => setSecret(null)} />}
    </Page>
  );
}

function Rows({ operators, onSecret }: { operators: Pages<OperatorRow>; onSecret: (secret: Secret) => void }) {
  const me = useMe();
  const change = (row: OperatorRow) => operators.set((rows) => rows.map((each) => (each.id === row.id ? row : each)));
  const [problem, setProblem] = useState<string | null>(null);
  const columns: Column<OperatorRow>[] = [
    {
      title: words.name,
      main: true,
      cell: ({ id, name, email }) => (
        <span class="staff-name">
          <span>
            <Foreign text={name} /> {id === me.id && <Badge tone="accent">{words.you}</Badge>}
          </span>
          <small class="hint">
            <bdi>{email}</bdi>
          </small>
        </span>
      ),
    },
    { title: words.role, cell: ({ role }) => words.roles[role] },
    { title: words.client, cell: ({ client_name }) => (client_name === null ? words.all : <Foreign text={client_name} />) },
    {
      title: words.status,
      cell: ({ status }) => (status === "active" ? <Badge tone="good">{words.active}</Badge> : <Badge tone="warn">{words.disabled}</Badge>),
    },
    { title: words.seen, cell: ({ last_seen_at }) => (last_seen_at ? <Time at={last_seen_at} /> : <span class="hint">{words.neverSeen}</span>) },
    { title: words.since, narrow: false, cell: ({ created_at }) => <Time at={created_at} /> },
    {
      title: "",
      end: true,
      cell: (row) => row.manageable && <Actions operator={row} onChange={change} onSecret={onSecret} onError={setProblem} />,
    },
  ];
  return (
    <>
      {problem && <ErrorBox error={problem} />}
      {(!operators.error || operators.rows.length > 0) && (
        <Section flush>
          <Table
            label={words.tabs.operators}
            columns={columns}
            rows={operators.rows}
            keyOf={({ id }) => id}
            loading={operators.loading}
            empty={
              <Empty icon="staff" title={words.empty.title}>
                {words.empty.text}
              </Empty>
            }
          />
        </Section>
      )}
    </>
  );
}
