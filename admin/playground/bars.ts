/** The waterfall's bars in percent of the whole. */

import type { TurnSpan } from "../core/api.gen.ts";

export interface Bar {
  span: TurnSpan;
  /** Percent of the whole, 0 to 100. */
  start: number;
  width: number;
}

/** The narrowest bar that can still be seen, in percent. */
const LEAST = 0.5;

/** `now_ms` is how long the turn has taken: where a span that lasts ends. */
export function barsOf(spans: readonly TurnSpan[], now_ms: number): Bar[] {
  const whole = Math.max(1, now_ms, ...spans.map(({ start_ms, ms }) => start_ms + (ms ?? 0)));
  return spans.map((span) => {
    const start = Math.min((100 * span.start_ms) / whole, 100 - LEAST);
    const ms = span.ms ?? Math.max(0, now_ms - span.start_ms);
    return { span, start, width: Math.min(Math.max((100 * ms) / whole, LEAST), 100 - start) };
  });
}
