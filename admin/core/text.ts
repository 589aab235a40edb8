/** Numbers, money and times as text. */

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 12,345. */
export const count = (n: number): string => whole.format(n);

/** 12.3K, where there is little room. */
export const short = (n: number): string => compact.format(n);

export const plural = (n: number, one: string, many: string): string => `${count(n)} ${n === 1 ? one : many}`;

/** US dollars. Below a dollar tenths of a cent matter, and a millionth of one is not nothing. */
export function money(usd: string | number): string {
  const value = Number(usd);
  const size = Math.abs(value);
  if (size > 0 && size < 0.0001) return value < 0 ? "-$0.0001" : "< $0.0001";
  const digits = size === 0 || size >= 1 ? 2 : 4;
  const text = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(size);
  return `${value < 0 ? "-" : ""}$${text}`;
}

/** 850 ms, 2.4 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  const units = ([["d", 86400], ["h", 3600], ["min", 60], ["s", 1]] as const).filter(([, size]) => s >= size);
  const [[name, size], next] = [units[0]!, units[1]];
  const rest = next ? Math.floor((s % size) / next[1]) : 0;
  return `${Math.floor(s / size)} ${name}${next && rest ? ` ${rest} ${next[0]}` : ""}`;
}

export function bytes(n: number): string {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const power = n < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(n) / 10));
  return `${power ? (n / 1024 ** power).toFixed(1) : n} ${units[power]}`;
}

/** Of a share between 0 and 1. */
export function percent(share: number): string {
  const value = share * 100;
  return `${value > 0 && value < 10 ? value.toFixed(1) : Math.round(value)}%`;
}

/** A language by its name, in English; what is no language tag stays as it is. */
export function language(tag: string): string {
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const near = new Intl.DateTimeFormat("en", { month: "short", day: "numeric" });
const far = new Intl.DateTimeFormat("en", { month: "short", day: "numeric", year: "numeric" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en", { hour: "numeric", minute: "2-digit" });

/** "just now", "5 min ago", "in 2 h", and from a week on the day. */
export function relative(at: string | number, now: number = Date.now()): string {
  const time = typeof at === "number" ? at : Date.parse(at);
  const ms = now - time;
  const size = Math.abs(ms);
  if (size < 45_000) return "just now";
  if (size >= 7 * DAY) return day(time, now);
  const [minutes, hours] = [Math.max(1, Math.round(size / MINUTE)), Math.round(size / HOUR)];
  const told = minutes < 60 ? `${minutes} min` : hours < 24 ? `${hours} h` : `${Math.round(size / DAY)} d`;
  return ms > 0 ? `${told} ago` : `in ${told}`;
}

/** "Mar 4", and in another year "Mar 4, 2025". */
export function day(at: string | number, now: number = Date.now()): string {
  const date = new Date(at);
  return (date.getFullYear() === new Date(now).getFullYear() ? near : far).format(date);
}

/** To the second, in the reader's own zone. */
export const absolute = (at: string | number): string => exact.format(new Date(at));

/** 4:05 PM. */
export const time = (at: string | number): string => clock.format(new Date(at));
