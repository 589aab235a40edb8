/** A report's days as the lines of a chart. */

import type { UsageOfDay } from "../core/api.gen.ts";

export type Amount = Exclude<keyof UsageOfDay, "date">;

export interface Line {
  label: string;
  /** One number a day. */
  values: number[];
  /** The second of two is drawn without a fill, in another colour. */
  tone: "first" | "second";
}

/** Days as seconds since 1970, which is what a chart counts in. */
export const timesOf = (days: readonly UsageOfDay[]): number[] => days.map(({ date }) => Date.parse(date) / 1000);

/** Cost comes as a decimal number in a text. */
export const valuesOf = (days: readonly UsageOfDay[], amount: Amount): number[] => days.map((day) => Number(day[amount]));

export function linesOf(days: readonly UsageOfDay[], wanted: readonly { amount: Amount; label: string }[]): Line[] {
  return wanted.map(({ amount, label }, i) => ({ label, values: valuesOf(days, amount), tone: i === 0 ? "first" : "second" }));
}

/** Nothing happened on any day: there is nothing to draw. */
export const isFlat = (lines: readonly Line[]): boolean => lines.every(({ values }) => values.every((value) => value === 0));

/** The place of the next day for an arrow key; null for another key. Without a place it begins at the end. */
export function step(key: string, at: number | null, length: number): number | null {
  const last = length - 1;
  if (key === "Home") return 0;
  if (key === "End") return last;
  const by = key === "ArrowLeft" ? -1 : key === "ArrowRight" ? 1 : key === "PageUp" ? -7 : key === "PageDown" ? 7 : 0;
  if (!by) return null;
  return at === null ? last : Math.min(last, Math.max(0, at + by));
}

const EVERY = [1, 2, 3, 7, 14, 28, 56, 112, 224];

/** Which times stand below a chart of that width, with `room` for each (px). The first always does. */
export function ticks(times: readonly number[], width: number, room: number): number[] {
  const most = Math.max(1, Math.floor(width / room));
  const every = EVERY.find((n) => Math.ceil(times.length / n) <= most) ?? EVERY[EVERY.length - 1]!;
  return times.filter((_, i) => i % every === 0);
}

/** Steps of the upright axis: what is counted has no half. */
export const WHOLE_STEPS: number[] = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9].flatMap((n) => [n, 2 * n, 5 * n]);
