/** Values in the forms that people read. */

import { useEffect, useReducer } from "preact/hooks";
import { absolute, count, day, duration, money, relative, time } from "../core/text.ts";

/** Milliseconds after which "5 min ago" is looked at anew, for all of them at once. */
const TICK = 20_000;
const shown = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function useTick(on: boolean): void {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    if (!on) return undefined;
    const mine = () => draw(0);
    shown.add(mine);
    timer ??= setInterval(() => shown.forEach((each) => each()), TICK);
    return () => {
      shown.delete(mine);
      if (!shown.size) {
        clearInterval(timer);
        timer = undefined;
      }
    };
  }, [on]);
}

/** How long ago, and on hover when exactly. `absolute`: the day and the time. */
export function Time({ at, absolute: exact }: { at: string; absolute?: boolean }) {
  useTick(!exact);
  return (
    <time dateTime={at} title={absolute(at)}>
      {exact ? `${day(at)}, ${time(at)}` : relative(at)}
    </time>
  );
}

export const Money = ({ usd }: { usd: string | number }) => (
  <span class="number" title={`$${usd}`}>
    {money(usd)}
  </span>
);

export const Count = ({ n }: { n: number }) => <span class="number">{count(n)}</span>;

export const Duration = ({ ms }: { ms: number }) => (
  <span class="number" title={`${count(Math.round(ms))} ms`}>
    {duration(ms)}
  </span>
);
