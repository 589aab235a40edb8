/** The whole truth of one turn: time, raw calls of the model, calls of tools, tokens, cost. */

import type { ModelCallTruth, ToolCallTruth, TurnTruth } from "../core/api.gen.ts";
import { bytes, duration } from "../core/text.ts";
import { Code, Json } from "../ui/code.tsx";
import { Facts } from "../ui/page.tsx";
import { Badge, ErrorBox, Foreign } from "../ui/show.tsx";
import { Duration, Figure, Figures, Money } from "../ui/values.tsx";
import { TURN_TONES } from "./tone.ts";
import { Waterfall } from "./waterfall.tsx";
import { words } from "./words.ts";

const { truth: said } = words;

export function Truth({ truth }: { truth: TurnTruth }) {
  const { status, model, ms, tokens_input, tokens_output, cost, error } = truth;
  return (
    <div class="play-truth" data-fd="truth">
      <Facts
        rows={[
          [said.turn, <Badge tone={TURN_TONES[status]}>{said.statuses[status]}</Badge>],
          ["Model", <Foreign text={model ?? said.none} />],
          ["Tokens", <Figure>{said.tokens(tokens_input, tokens_output)}</Figure>],
          ["Cost", <Money usd={cost} />],
          [said.waterfall, ms === null ? said.running : <Duration ms={ms} />],
        ]}
        fd="truth-facts"
      />
      {error && <ErrorBox error={error} />}
      <Waterfall truth={truth} />
      {truth.model_calls.map((call) => (
        <ModelCall key={`${call.gen} ${call.no}`} call={call} />
      ))}
      {truth.tool_calls.map((call) => (
        <ToolCall key={call.call_id} call={call} />
      ))}
    </div>
  );
}

function ModelCall({ call }: { call: ModelCallTruth }) {
  const { no, provider, model, ms, first_ms, tokens_input, tokens_output, tries, error } = call;
  return (
    <details class="play-call" data-fd="model-call">
      <summary>
        <strong>{said.modelCall(no)}</strong> <Foreign text={`${provider} · ${model}`} />
        <span class="hint">
          <bdi>
            <Duration ms={ms} />
            {first_ms !== null && (
              <>
                , {said.spans.first} <Duration ms={first_ms} />
              </>
            )}
            {tokens_input !== null && tokens_output !== null && (
              <>
                , <Figure>{said.tokens(tokens_input, tokens_output)}</Figure>
              </>
            )}
          </bdi>
        </span>
      </summary>
      {tries.map(({ method, url, status }, at) => (
        <p key={at} class="play-try">
          <Badge tone={status !== null && status < 300 ? "good" : "bad"}>{status ?? "-"}</Badge> <code>{`${method} ${url}`}</code>
        </p>
      ))}
      {error && <ErrorBox error={error} />}
      <Raw title={said.request} text={call.request} size={call.request_bytes} />
      <Raw title={said.response} text={call.response} size={call.response_bytes} />
    </details>
  );
}

/** Kept is its beginning; JSON is shown as a tree, a stream of events as it came. */
function Raw({ title, text, size }: { title: string; text: string; size: number }) {
  const kept = new TextEncoder().encode(text).length;
  const value = jsonOf(text);
  return (
    <div>
      <h3>{title}</h3>
      {value === undefined ? <Code text={text} wrap label={title} /> : <Json value={value} label={title} />}
      {kept < size && <p class="hint">{said.cut(bytes(kept), bytes(size))}</p>}
    </div>
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function ToolCall({ call }: { call: ToolCallTruth }) {
  const { name, ok, ms, attempt, approval, result, error } = call;
  const state = ok === null ? (ms === null ? said.running : said.inDoubt) : ok ? said.statuses.done : said.statuses.failed;
  return (
    <details class="play-call" data-fd="tool-call">
      <summary>
        <code>{name}</code> <Badge tone={ok === null ? "warn" : ok ? "good" : "bad"}>{state}</Badge>
        <span class="hint">
          <Figures of={[ms !== null && duration(ms), attempt === 0 ? said.notSent : attempt > 1 && said.attempt(attempt), approval && said.visitor[approval]]} />
        </span>
      </summary>
      <h3>{said.arguments}</h3>
      <Json value={call.arguments} label={said.arguments} />
      {error && <ErrorBox error={error} />}
      {result !== null && (
        <>
          <h3>{said.result}</h3>
          <Code text={result} wrap label={said.result} />
        </>
      )}
      {call.response !== null && (
        <>
          <h3>{said.raw}</h3>
          <Json value={call.response} label={said.raw} />
        </>
      )}
    </details>
  );
}
