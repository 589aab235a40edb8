/** A client's test cases, and their runs. */

import type { CaseRow, Run, RunRow } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { useAction, usePages } from "../core/resource.ts";
import { navigate, type PageProps } from "../router.ts";
import { ClientFrame } from "../clients/frame.tsx";
import { Button } from "../ui/button.tsx";
import { Section } from "../ui/page.tsx";
import { Badge, Empty, ErrorBox, Foreign } from "../ui/show.tsx";
import { type Column, Pager, Table } from "../ui/table.tsx";
import { Money, own, Time } from "../ui/values.tsx";
import { CASE_TONES, RUN_TONES } from "./tone.ts";
import { words } from "./words.ts";

const { cases: said, run } = words;

export default function Cases({ params: { client_id } }: PageProps<"/clients/:client_id/cases">) {
  return (
    <ClientFrame key={client_id} client_id={client_id} tab="cases">
      {() => <Lists client_id={client_id} />}
    </ClientFrame>
  );
}

const CASES: Column<CaseRow>[] = [
  { title: said.name, main: true, cell: ({ name }) => <Foreign text={name} /> },
  { title: said.questions, end: true, cell: ({ questions }) => questions },
  {
    title: said.rules,
    end: true,
    cell: ({ rules }) => rules.must_call.length + rules.must_contain.length + rules.must_not_contain.length,
  },
  {
    title: said.last,
    cell: ({ last }) => (last ? <Badge tone={CASE_TONES[last.status]}>{run.statuses[last.status]}</Badge> : <span class="hint">{said.never}</span>),
  },
];

const RUNS: Column<RunRow>[] = [
  { title: said.started, main: true, cell: ({ created_at }) => <Time at={created_at} /> },
  { title: said.by, cell: ({ started_by }) => (started_by === null ? said.commandLine : <Foreign text={started_by} />), narrow: false },
  { title: said.result, cell: (row) => <RunMark run={row} /> },
  { title: run.cost, end: true, cell: ({ cost }) => <Money usd={cost} /> },
];

export function RunMark({ run: { status, passed, failed, total } }: { run: RunRow }) {
  const tone = failed > 0 ? "bad" : RUN_TONES[status];
  return (
    <Badge tone={tone} fd="run-mark">
      {own({ running: `${passed + failed} / ${total}`, interrupted: run.statuses.interrupted, done: `${passed} / ${total} ${run.allPassed}` }[status])}
    </Badge>
  );
}

function Lists({ client_id }: { client_id: string }) {
  const base = `/clients/${client_id}`;
  const cases = usePages<CaseRow>(`${base}/cases`);
  const runs = usePages<RunRow>(`${base}/runs`);
  const start = useAction(async () => {
    const { run } = await post<Run>(`${base}/cases/run`, {});
    navigate(`${base}/runs/${run.id}`);
  });
  const all = (
    <Button kind="primary" icon="play" busy={start.busy} disabled={!cases.rows.length} onClick={() => void start.run()} fd="run-all">
      {said.runAll}
    </Button>
  );
  return (
    <>
      <Section title={said.title} hint={said.hint} actions={all} flush>
        {start.error && <ErrorBox error={start.error} />}
        <Table
          label={said.title}
          columns={CASES}
          rows={cases.rows}
          keyOf={({ id }) => id}
          to={({ id }) => `${base}/cases/${id}`}
          loading={cases.loading}
          empty={
            cases.error ? undefined : (
              <Empty icon="check" title={said.empty.title} action={<Button to={`${base}/playground`}>Open the playground</Button>}>
                {said.empty.text}
              </Empty>
            )
          }
          fd="cases"
        />
      </Section>
      <Pager pages={cases} />
      {runs.rows.length > 0 && (
        <Section title={said.runs} flush>
          <Table label={said.runs} columns={RUNS} rows={runs.rows} keyOf={({ id }) => id} to={({ id }) => `${base}/runs/${id}`} loading={runs.loading} fd="runs" />
        </Section>
      )}
      {runs.rows.length > 0 && <Pager pages={runs} />}
    </>
  );
}
