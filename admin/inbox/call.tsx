/** A call of a tool: what it was asked, what it gave, how long it took, and the yes or no that it waits for. */

import { Button } from "../ui/button.tsx";
import { Code, Json } from "../ui/code.tsx";
import { Icon, type IconName } from "../ui/icon.tsx";
import { Spinner } from "../ui/show.tsx";
import { Duration } from "../ui/values.tsx";
import type { Call } from "./core/calls.ts";
import { useAhead } from "./use_source.ts";
import { fill, WORDS } from "./words.ts";

const SIGNS: Record<Exclude<Call["state"], "running">, IconName> = { done: "check", failed: "close", confirm: "hand", unknown: "warn" };

/** Texts as they are, everything else as a tree. */
function Value({ label, value }: { label: string; value: unknown }) {
  return (
    <div class="inbox-value">
      <h4>{label}</h4>
      {typeof value === "string" ? <Code text={value} wrap label={label} /> : <Json value={value} label={label} />}
    </div>
  );
}

function Answer({ call, onAnswer }: { call: Call; onAnswer: (id: string, approved: boolean) => void }) {
  // After a reload it is not known until when; the server says when it is too late.
  const open = useAhead(call.expires ?? Infinity);
  return (
    <div class="inbox-answer">
      {call.text && <p dir="auto">{call.text}</p>}
      <Button kind="primary" small disabled={!open} onClick={() => onAnswer(call.id, true)} fd="approve">
        {WORDS.approve}
      </Button>
      <Button small disabled={!open} onClick={() => onAnswer(call.id, false)} fd="decline">
        {WORDS.decline}
      </Button>
    </div>
  );
}

export function CallView({ call, onAnswer }: { call: Call; onAnswer: (id: string, approved: boolean) => void }) {
  const { name, label, state, ms, attempts = 0, approval, error, text } = call;
  return (
    <li class={`inbox-call ${state}`} data-fd="call" data-state={state}>
      <details>
        <summary>
          {state === "running" ? <Spinner label={WORDS.calls.running} /> : <Icon name={SIGNS[state]} size={16} />}
          <code dir="auto">{name}</code>
          {label && label !== name && (
            <bdi dir="auto" class="inbox-label">
              {label}
            </bdi>
          )}
          <span class="inbox-call-end">
            {attempts > 1 && <span>{fill(WORDS.attempts, { n: attempts })}</span>}
            {(approval === "approved" || approval === "declined") && <span>{WORDS[approval]}</span>}
            {ms != null && <Duration ms={ms} />}
            <span class={state === "failed" || state === "unknown" ? "inbox-state" : "unseen"}>{WORDS.calls[state]}</span>
          </span>
        </summary>
        {call.arguments !== undefined && <Value label={WORDS.arguments} value={call.arguments} />}
        {error && (
          <p class="inbox-error" dir="auto">
            {error}
          </p>
        )}
        {call.result !== undefined ? <Value label={WORDS.result} value={call.result} /> : <p class="hint">{WORDS.noResult}</p>}
      </details>
      {state === "confirm" ? (
        <Answer call={call} onAnswer={onAnswer} />
      ) : (
        text && (
          <p class="hint" dir="auto">
            {text}
          </p>
        )
      )}
    </li>
  );
}
