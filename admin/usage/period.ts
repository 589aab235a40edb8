/** The days that a report is of: UTC, both ends included, as the server counts them. */

export type PeriodName = "7d" | "30d" | "90d" | "month" | "last" | "custom";

/** Days are `yyyy-mm-dd`. */
export interface Period {
  name: PeriodName;
  from: string;
  to: string;
  /** Why it cannot be asked for; null: it can. */
  problem: "missing" | "order" | "long" | null;
}

/** The server answers for no more. */
export const MAX_DAYS = 366;
const DAY = 86_400_000;
const BACK: Partial<Record<PeriodName, number>> = { "7d": 7, "30d": 30, "90d": 90 };
const NAMES: readonly string[] = ["7d", "30d", "90d", "month", "last", "custom"];

export const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

export const addDays = (day: string, n: number): string => dayOf(Date.parse(day) + n * DAY);

/** How many days, both ends included. */
export const daysIn = (from: string, to: string): number => Math.round((Date.parse(to) - Date.parse(from)) / DAY) + 1;

/** A day that the calendar has; a browser's date field gives an empty text for one that it has not. */
export function isDay(text: string | null): text is string {
  if (!text || !/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const ms = Date.parse(text);
  return !Number.isNaN(ms) && dayOf(ms) === text;
}

/** The month of that day; `back` 1 is the one before it. */
export function monthOf(day: string, back = 0): { from: string; to: string } {
  const year = Number(day.slice(0, 4));
  const month = Number(day.slice(5, 7)) - 1 - back;
  return { from: dayOf(Date.UTC(year, month, 1)), to: dayOf(Date.UTC(year, month + 1, 0)) };
}

function problemOf(from: string, to: string): Period["problem"] {
  if (!isDay(from) || !isDay(to)) return "missing";
  if (from > to) return "order";
  return daysIn(from, to) > MAX_DAYS ? "long" : null;
}

/** What the page's address asks for; 30 days where it asks for nothing. `now` is ms since 1970. */
export function periodOf(query: URLSearchParams, now: number): Period {
  const today = dayOf(now);
  const given = query.get("period") ?? "";
  const name = (NAMES.includes(given) ? given : "30d") as PeriodName;
  if (name === "custom") {
    const from = query.get("from") ?? "";
    const to = query.get("to") ?? "";
    return { name, from, to, problem: problemOf(from, to) };
  }
  const back = BACK[name];
  if (back) return { name, from: addDays(today, 1 - back), to: today, problem: null };
  const month = monthOf(today, name === "last" ? 1 : 0);
  return { name, from: month.from, to: name === "last" ? month.to : today, problem: null };
}
