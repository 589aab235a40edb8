/** Trying a tool or a look-up out: the arguments, and the whole truth of what was sent and came back. */

import { useState } from "preact/hooks";
import type { Trial, TrialExchange, TrialRequest, TrialResponse, TrialResult } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { useAction } from "../core/resource.ts";
import { Button } from "../ui/button.tsx";
import { Code } from "../ui/code.tsx";
import { Checkbox, TextArea, TextInput, Toggle } from "../ui/field.tsx";
import { Grid, Row, Section } from "../ui/page.tsx";
import { Badge, ErrorBox, Foreign } from "../ui/show.tsx";
import { Duration } from "../ui/values.tsx";
import { exampleOf, objectOf, pretty } from "./edit.ts";
import type { Effect } from "./kinds.ts";
import { words } from "./words.ts";

const { trial } = words;
const TONES = { ok: "good", failed: "bad", in_doubt: "warn", accepted: "accent" } as const;

export interface TrialPanelProps {
  /** The route that calls it. */
  path: string;
  schema: Readonly<Record<string, unknown>>;
  bound: Readonly<Record<string, unknown>>;
  effect: Effect;
}

export function TrialPanel({ path, schema, bound, effect }: TrialPanelProps) {
  const needsVisitor = Object.keys(bound).length > 0;
  const [given, setGiven] = useState(() => pretty(exampleOf(schema, bound)));
  const [asVisitor, setAsVisitor] = useState(needsVisitor);
  const [visitor, setVisitor] = useState({ id: "", email: "", name: "" });
  const [really, setReally] = useState(false);
  const [result, setResult] = useState<TrialResult | null>(null);
  const call = useAction(async () => {
    const { id, email, name } = visitor;
    const body: Trial = {
      arguments: objectOf(given, "arguments"),
      visitor: asVisitor ? { id, email: email || null, name: name || null } : null,
      really,
    };
    setResult(await post<TrialResult>(path, body));
  });
  const put = (patch: Partial<typeof visitor>) => setVisitor({ ...visitor, ...patch });
  const wrong = (field: string) => (call.error?.field === field ? call.error.message : null);
  const shown = ["arguments", "visitor.id"].includes(call.error?.field ?? "");
  return (
    <Section title={trial.title} hint={trial.hint} fd="trial">
      <TextArea label={trial.arguments} value={given} onChange={setGiven} error={wrong("arguments")} mono grow rows={4} fd="trial-arguments" />
      <Toggle label={trial.visitor} value={asVisitor} onChange={setAsVisitor} />
      {asVisitor && (
        <Grid min={180}>
          <TextInput label={trial.visitorId} value={visitor.id} onChange={(id) => put({ id })} error={wrong("visitor.id")} required fd="trial-visitor" />
          <TextInput label={trial.visitorEmail} type="email" value={visitor.email} onChange={(email) => put({ email })} />
          <TextInput label={trial.visitorName} value={visitor.name} onChange={(name) => put({ name })} />
        </Grid>
      )}
      {effect === "unsafe" && <Checkbox label={trial.really} value={really} onChange={setReally} fd="trial-really" />}
      <Row>
        <Button kind="primary" icon="play" busy={call.busy} disabled={effect === "unsafe" && !really} onClick={() => void call.run()} fd="trial-run">
          {trial.run}
        </Button>
      </Row>
      {call.error && !shown && <ErrorBox error={call.error} />}
      {result && <Result result={result} />}
    </Section>
  );
}

function Result({ result: { outcome, exchanges, content, error, ms } }: { result: TrialResult }) {
  return (
    <div class="tools-result" data-fd="trial-result">
      <Row>
        <Badge tone={TONES[outcome]} fd="trial-outcome">
          {trial.outcomes[outcome]}
        </Badge>
        <Duration ms={ms} />
      </Row>
      {error && <ErrorBox error={error} />}
      {!exchanges.length && <p class="hint">{trial.nothing}</p>}
      {exchanges.map((each, at) => (
        <Exchange key={at} exchange={each} title={exchanges.length > 1 ? trial.attempt(at + 1) : undefined} />
      ))}
      {content && (
        <div>
          <h3>{trial.content}</h3>
          <Code text={content} wrap label={trial.content} fd="trial-content" />
        </div>
      )}
    </div>
  );
}

function Exchange({ exchange: { request, response, error, ms }, title }: { exchange: TrialExchange; title?: string }) {
  return (
    <div class="tools-exchange">
      {title && <h3>{title}</h3>}
      <Sent request={request} />
      {response ? <CameBack response={response} ms={ms} /> : <ErrorBox title={trial.noResponse} error={error ?? ""} />}
    </div>
  );
}

function Sent({ request: { method, url, headers, body, parameters, cut } }: { request: TrialRequest }) {
  return (
    <div>
      <h3>{trial.request}</h3>
      <p class="tools-line">
        <Badge>{method}</Badge> <code>{url}</code>
      </p>
      <Headers headers={headers} />
      {body !== null && <Code text={tidy(body)} wrap label={trial.request} />}
      {parameters && <Code text={pretty(parameters)} wrap label={trial.parameters} />}
      {cut && <p class="hint">{trial.cut}</p>}
    </div>
  );
}

function CameBack({ response: { status, headers, body, cut }, ms }: { response: TrialResponse; ms: number }) {
  return (
    <div>
      <h3>{trial.response}</h3>
      <p class="tools-line">
        {status !== null && <Badge tone={status < 300 ? "good" : "bad"}>{status}</Badge>} <Duration ms={ms} />
      </p>
      <Headers headers={headers} />
      <Code text={tidy(body)} wrap label={trial.response} />
      {cut && <p class="hint">{trial.cut}</p>}
    </div>
  );
}

function Headers({ headers }: { headers: Readonly<Record<string, string>> }) {
  const all = Object.entries(headers);
  if (!all.length) return null;
  return (
    <details class="tools-headers">
      <summary>
        {trial.headers} ({all.length})
      </summary>
      <dl dir="ltr">
        {all.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <Foreign text={value} />
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

/** JSON with its lines broken; what is none stays as it came. */
function tidy(text: string): string {
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text;
  }
}
