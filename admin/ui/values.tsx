/** Values in the forms that people read. Each keeps its order in a page that is read from the right. */

import { type ComponentChildren, Fragment } from "preact";
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

/** A sentence in a direction of its own, so that its numbers and its full stop stay where they belong. */
export const own = (text: ComponentChildren): ComponentChildren => (typeof text === "string" ? <bdi>{text}</bdi> : text);

/** A number with its unit, a share, an amount of bytes: what is no sentence. */
export const Figure = ({ children, title }: { children: ComponentChildren; title?: string }) => (
  <span class="number" title={title}>
    {children}
  </span>
);

/** Some of them beside each other. What is not there is left out. */
export const Figures = ({ of, title }: { of: readonly ComponentChildren[]; title?: string }) => (
  <span title={title}>
    {of.filter(Boolean).map((each, i) => (
      <Fragment key={i}>
        {i > 0 && " · "}
        {typeof each === "string" ? <Figure>{each}</Figure> : each}
      </Fragment>
    ))}
  </span>
);

export const Money = ({ usd }: { usd: string | number }) => <Figure title={`$${usd}`}>{money(usd)}</Figure>;

export const Count = ({ n }: { n: number }) => <Figure>{count(n)}</Figure>;

/** What was read and what was written. */
export const Tokens = ({ input, output }: { input: number; output: number }) => <Figure>{`${count(input)} → ${count(output)}`}</Figure>;

export const Duration = ({ ms }: { ms: number }) => <Figure title={`${count(Math.round(ms))} ms`}>{duration(ms)}</Figure>;
