/** One run of test cases: each new answer beside the former one, and what the rules say. */

import type { Run, RunAnswer, RunResult } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { useAction, useEvery, useResource } from "../core/resource.ts";
import { navigate, type PageProps } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { Json } from "../ui/code.tsx";
import { Icon } from "../ui/icon.tsx";
import { Grid, Page, Section, Stat } from "../ui/page.tsx";
import { Badge, ErrorBox, Load, Notice } from "../ui/show.tsx";
import { Duration, Money, Time } from "../ui/values.tsx";
import { RunMark } from "./cases.tsx";
import { Said } from "./said.tsx";
import { CASE_TONES } from "./tone.ts";
import { words } from "./words.ts";

const { run: said, truth } = words;
/** Milliseconds between two looks at a run that goes on. */
const RUNNING_EVERY = 1000;

export default function RunPage({ params: { client_id, run_id } }: PageProps<"/clients/:client_id/runs/:run_id">) {
  const base = `/clients/${client_id}`;
  const run = useResource<Run>(`/runs/${run_id}`);
  const row = run.value?.run;
  useEvery(RUNNING_EVERY, () => void (row?.status === "running" && run.reload()));
  const again = useAction(async () => {
    const { draft = null, results = [] } = run.value ?? {};
    const next = await post<Run>(`${base}/cases/run`, { case_ids: results.map(({ case_id }) => case_id), draft });
    navigate(`${base}/runs/${next.run.id}`);
  });
  const button = row && row.status !== "running" && (
    <Button icon="refresh" busy={again.busy} onClick={() => void again.run()} fd="run-again">
      {said.again}
    </Button>
  );
  return (
    <Page key={run_id} title={said.title(Number(run_id))} subtitle={row && <Time at={row.created_at} />} badge={row && <RunMark run={row} />} back={{ to: `${base}/cases`, label: said.back }} actions={button}>
      {again.error && <ErrorBox error={again.error} />}
      <Load from={run}>
        {({ run: { status, total, passed, failed, cost }, draft, results }) => (
          <>
            {status === "interrupted" && <Notice tone="warn">{said.interrupted}</Notice>}
            {draft && <Notice>{said.draft}</Notice>}
            <Grid min={140}>
              <Stat label={said.passed} value={passed} tone={passed ? "good" : undefined} fd="passed" />
              <Stat label={said.failed} value={failed} tone={failed ? "bad" : undefined} fd="failed" />
              <Stat label={said.left} value={total - passed - failed} />
              <Stat label={said.cost} value={<Money usd={cost} />} />
            </Grid>
            {results.map((result) => (
              <Result key={result.case_id} base={base} result={result} />
            ))}
          </>
        )}
      </Load>
    </Page>
  );
}

function Result({ base, result: { case_id, name, status, answers, verdicts, ms } }: { base: string; result: RunResult }) {
  const mark = (
    <>
      {ms !== null && <Duration ms={ms} />}
      <Badge tone={CASE_TONES[status]}>{said.statuses[status]}</Badge>
      <Button small to={`${base}/cases/${case_id}`}>
        {said.open}
      </Button>
    </>
  );
  return (
    <Section title={name} actions={mark} fd="result">
      {verdicts.length > 0 && (
        <ul class="play-verdicts">
          {verdicts.map(({ rule, value, passed, reason }, at) => (
            <li key={at} class={passed ? "good" : "bad"}>
              <Icon name={passed ? "check" : "close"} size={16} /> {said.rules[rule]} {value && <code dir="auto">{value}</code>}
              {!passed && (
                <span class="hint" dir="auto">
                  {reason}
                </span>
              )}
            </li>
          ))}
        </ul>
      )}
      {answers.map((answer, at) => (
        <Answer key={at} answer={answer} />
      ))}
    </Section>
  );
}

function Answer({ answer: { question, former, answer, calls, error } }: { answer: RunAnswer }) {
  return (
    <div class="play-question">
      <Said title={truth.question} text={question} plain />
      <div class="play-beside">
        <Said title={said.former} text={former} fd="former" />
        <Said title={said.now} text={answer} fd="now" />
      </div>
      {error && <ErrorBox error={error} />}
      {calls.map(({ tool, arguments: given, matched, ok }, at) => (
        <details class="play-call" key={at}>
          <summary>
            <code>{tool}</code> {matched ? <Badge tone={ok ? "good" : "bad"}>{ok ? truth.statuses.done : truth.statuses.failed}</Badge> : <Badge tone="warn">{said.unmatched}</Badge>}
          </summary>
          <Json value={given} label={truth.arguments} />
        </details>
      ))}
    </div>
  );
}
