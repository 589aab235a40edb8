/** How an answer was made: its model, tokens, cost and times, and each step on the way. */

import type { ComponentChildren } from "preact";
import type { TurnTrace } from "../../widget-src/core/protocol.gen.ts";
import type { TurnInfo, TurnStepInfo } from "../core/api.gen.ts";
import { count, duration, money, plural } from "../core/text.ts";
import { Facts } from "../ui/page.tsx";
import { Count, Duration, Figures, Money, Tokens } from "../ui/values.tsx";
import { WORDS } from "./words.ts";

/** Milliseconds between two times of the server; null where one is missing. */
const between = (from: string | null, to: string | null): number | null => (from && to ? Math.max(0, Date.parse(to) - Date.parse(from)) : null);

const foreign = (names: readonly string[]) => <bdi dir="auto">{names.join(", ")}</bdi>;

/** While it runs: what its model was asked with. */
export function LiveTrace({ trace }: { trace: TurnTrace }) {
  const parts = [foreign([trace.model]), plural(trace.prompt_tokens, "prompt token", "prompt tokens"), money(trace.cost)];
  return (
    <details class="inbox-turn" data-fd="live-trace">
      <summary>
        <Figures of={parts} />
      </summary>
      <Facts
        rows={[
          [WORDS.offered, trace.tools.length ? foreign(trace.tools) : "–"],
          [WORDS.passages, trace.passages.length ? foreign(trace.passages) : "–"],
        ]}
      />
    </details>
  );
}

/** `tool` is the tool's name, of a step that is one. */
function StepLine({ step, tool }: { step: TurnStepInfo; tool: string | undefined }) {
  const ms = between(step.began_at, step.ended_at);
  const name = step.kind === "llm" ? WORDS.modelStep : (tool ?? WORDS.toolStep);
  return (
    <li>
      <bdi dir="auto">{name}</bdi>
      {step.tokens_input !== null && <Tokens input={step.tokens_input} output={step.tokens_output ?? 0} />}
      {ms !== null && <Duration ms={ms} />}
      {(step.state === "failed" || step.state === "unknown") && <span class="inbox-state">{WORDS.calls[step.state]}</span>}
    </li>
  );
}

/** `trace` is what was told while it ran; afterwards nobody is told again. */
export function TurnView({ turn, trace }: { turn: TurnInfo; trace?: TurnTrace }) {
  const { model, tokens_input, tokens_output, cost, attempts, steps, calls, queued_at, started_at, finished_at, error } = turn;
  const took = between(started_at, finished_at);
  const waited = between(queued_at, started_at);
  const parts = [
    model && foreign([model]),
    tokens_input !== null && `${count(tokens_input)} → ${plural(tokens_output ?? 0, "token", "tokens")}`,
    cost !== null && money(cost),
    took !== null && duration(took),
    calls.length > 0 && plural(calls.length, "tool call", "tool calls"),
  ].filter(Boolean);
  const rows: [string, ComponentChildren][] = [
    [WORDS.model, !!model && foreign([model])],
    [WORDS.tokensIn, tokens_input !== null && <Count n={tokens_input} />],
    [WORDS.tokensOut, tokens_output !== null && <Count n={tokens_output} />],
    [WORDS.cost, cost !== null && <Money usd={cost} />],
    [WORDS.queuedFor, waited !== null && <Duration ms={waited} />],
    [WORDS.took, took !== null && <Duration ms={took} />],
    [WORDS.tries, attempts > 1 && <Count n={attempts} />],
    [WORDS.offered, !!trace?.tools.length && foreign(trace.tools)],
  ];
  // A call's id is its turn's and its number within.
  const toolOf = (no: number) => calls.find((call) => call.call_id === `${turn.turn_id}:${no}`)?.name;
  return (
    <details class="inbox-turn" data-fd="turn" data-status={turn.status}>
      <summary title={WORDS.turn}>{parts.length ? <Figures of={parts} /> : turn.status}</summary>
      {error && (
        <p class="inbox-error" dir="auto">
          {error}
        </p>
      )}
      <Facts rows={rows.filter(([, value]) => value !== false)} />
      {steps.length > 0 && (
        <>
          <h4>{WORDS.steps}</h4>
          <ol class="inbox-steps">
            {steps.map((step) => (
              <StepLine key={step.no} step={step} tool={toolOf(step.no)} />
            ))}
          </ol>
        </>
      )}
    </details>
  );
}
