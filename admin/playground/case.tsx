/** One test case: its rules, and the conversation that it was made of. */

import { useMemo } from "preact/hooks";
import type { Case, CaseRules, RecordedToolCall, Run } from "../core/api.gen.ts";
import { del, get, post, put } from "../core/api.ts";
import { useForm } from "../core/form.ts";
import { type Resource, useAction, useResource } from "../core/resource.ts";
import { navigate, type PageProps } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { Code, Json } from "../ui/code.tsx";
import { confirm } from "../ui/dialog.tsx";
import { LinesInput, TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Page, Section } from "../ui/page.tsx";
import { Badge, ErrorBox, Load } from "../ui/show.tsx";
import { Said } from "./said.tsx";
import { words } from "./words.ts";

const { cases: said, truth } = words;

interface CaseForm {
  version: number;
  name: string;
  rules: CaseRules;
}

const formOf = ({ version, name, rules }: Case): CaseForm => ({ version, name, rules });

export default function CasePage({ params: { client_id, case_id } }: PageProps<"/clients/:client_id/cases/:case_id">) {
  const base = `/clients/${client_id}`;
  const one = useResource<Case>(`/cases/${case_id}`);
  const start = useAction(async () => {
    const { run } = await post<Run>(`${base}/cases/run`, { case_ids: [Number(case_id)] });
    navigate(`${base}/runs/${run.id}`);
  });
  const button = (
    <Button kind="primary" icon="play" busy={start.busy} onClick={() => void start.run()} fd="run-case">
      {said.run}
    </Button>
  );
  return (
    <Page key={case_id} title={one.value?.name ?? said.title} back={{ to: `${base}/cases`, label: said.back }} actions={button}>
      {start.error && <ErrorBox error={start.error} />}
      <Load from={one}>
        {(value) => (
          <>
            <Rules value={value} resource={one} />
            <Recorded value={value} />
            <Delete base={base} case_id={case_id} />
          </>
        )}
      </Load>
    </Page>
  );
}

function Rules({ value, resource }: { value: Case; resource: Resource<Case> }) {
  const form = useForm<CaseForm>({
    value: useMemo(() => formOf(value), [value]),
    async save(typed) {
      const saved = await put<Case>(`/cases/${value.id}`, typed);
      resource.set(saved);
      return formOf(saved);
    },
    load: async () => formOf(await get<Case>(`/cases/${value.id}`)),
    labels: said.labels,
  });
  const rules = form.part("rules");
  return (
    <FormView form={form} quiet submit={said.save}>
      <Section title={said.rules}>
        <TextInput {...form.field("name")} label={said.name} required maxLength={200} fd="case-name" />
        <LinesInput {...rules.field("must_call")} label={said.mustCall} hint={said.mustCallHint} mono rows={2} fd="must-call" />
        <LinesInput {...rules.field("must_contain")} label={said.mustContain} hint={said.mustContainHint} rows={2} fd="must-contain" />
        <LinesInput {...rules.field("must_not_contain")} label={said.mustNot} hint={said.mustNotHint} rows={2} fd="must-not" />
      </Section>
    </FormView>
  );
}

function Recorded({ value: { questions, conversation_id } }: { value: Case }) {
  const open = (
    <Button small icon="inbox" to={`/inbox/${conversation_id}`}>
      {said.open}
    </Button>
  );
  return (
    <Section title={said.recorded} hint={said.recordedHint} actions={open}>
      {questions.map(({ text, answer, calls }, at) => (
        <div class="play-question" key={at}>
          <Said title={truth.question} text={text} plain />
          {calls.map((call, no) => (
            <Recording key={no} call={call} />
          ))}
          <Said title={truth.answer} text={answer} />
        </div>
      ))}
    </Section>
  );
}

const Recording = ({ call: { tool, arguments: given, content, ok } }: { call: RecordedToolCall }) => (
  <details class="play-call">
    <summary>
      <code>{tool}</code> <Badge tone={ok ? "good" : "bad"}>{ok ? truth.statuses.done : truth.statuses.failed}</Badge>
    </summary>
    <h3>{truth.arguments}</h3>
    <Json value={given} label={truth.arguments} />
    <h3>{truth.result}</h3>
    <Code text={content} wrap label={truth.result} />
  </details>
);

function Delete({ base, case_id }: { base: string; case_id: string }) {
  const forget = useAction(async () => {
    await del(`/cases/${case_id}`);
    navigate(`${base}/cases`);
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
        <Button kind="danger" icon="trash" busy={forget.busy} onClick={() => void ask()} fd="delete-case">
          {said.delete}
        </Button>
      }
    >
      {forget.error && <ErrorBox error={forget.error} />}
    </Section>
  );
}
