/** Calls of tools as they are shown: from the record of a turn that is over, or from what is told while it runs. Pure. */

import type { ToolTrace } from "../../../widget-src/core/protocol.gen.ts";
import type { Step } from "../../../widget-src/core/reducer.ts";
import type { TurnToolCall } from "../../core/api.gen.ts";

export interface Call {
  id: string;
  name: string;
  /** For people; absent where only the record is there. */
  label?: string;
  state: Step["state"] | "unknown";
  /** What the visitor is shown of it. */
  text?: string | null;
  arguments?: unknown;
  result?: unknown;
  error?: string | null;
  ms?: number | null;
  attempts?: number;
  approval?: "asked" | "approved" | "declined" | null;
  /** Until when it may be approved (ms since 1970). */
  expires?: number;
}

/** A result over the socket is text that may be JSON. */
function readable(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** As it is known while the turn runs: by what was told, or, for somebody who came later, by the record. */
export function liveCalls(steps: Step[] | undefined, traces: Record<string, ToolTrace>, record: TurnToolCall[] = []): Call[] {
  return (steps ?? []).map(({ call_id, label, state, text, expires }) => {
    const trace = traces[call_id];
    const recorded = record.find((call) => call.call_id === call_id);
    return {
      id: call_id,
      name: trace?.name ?? recorded?.name ?? label,
      label,
      state,
      text,
      expires,
      ms: recorded?.ms,
      arguments: trace?.arguments ?? recorded?.arguments,
      result: trace?.result == null ? (recorded?.response ?? undefined) : readable(trace.result),
    };
  });
}

function stateOf({ success, approval, approval_until, ms }: TurnToolCall): Call["state"] {
  if (success !== null) return success ? "done" : "failed";
  if (approval === "asked" && approval_until !== null) return "confirm";
  return ms === null ? "running" : "unknown";
}

/** As the record has it; `over`: the turn has ended, and what runs in the record runs no more. */
export function recordedCalls(calls: TurnToolCall[], over: boolean): Call[] {
  return calls.map((call) => {
    const state = stateOf(call);
    return {
      id: call.call_id,
      name: call.name,
      state: over && (state === "running" || state === "confirm") ? "unknown" : state,
      arguments: call.arguments,
      result: call.response ?? undefined,
      error: call.error,
      ms: call.ms,
      attempts: call.attempts,
      approval: call.approval,
    };
  });
}
