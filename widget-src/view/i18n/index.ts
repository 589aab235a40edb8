/** Words, dates and the direction of one language. */

import { EN, type Strings } from "./en.ts";

type When = (at: string | number) => string;

export interface Speech {
  t: Strings;
  /** What the words are in, for `lang`; dates and numbers are in it too. */
  language: string;
  rtl: boolean;
  time: When;
  /** Today, yesterday, or the date. */
  day: When;
  /** "in 42 seconds", in the largest unit of which there are at least two. */
  ahead(ms: number): string;
}

const SECOND = 1000;
const DAY = 86_400_000;
const UNITS = [["day", DAY], ["hour", 3_600_000], ["minute", 60_000], ["second", SECOND]] as const;

/** Puts a value into a sentence. */
export function fill(sentence: string, value: string): string {
  return sentence.replace(/\{\w+\}/, () => value);
}

/** `strings` are the words of that locale's language; without them it is English, whatever the locale. */
export function speech(locale: string, strings?: Partial<Strings> | null): Speech {
  const language = strings || /^en(-\w\w)?$/i.test(locale) ? locale : "en";
  const format = (options: Intl.DateTimeFormatOptions): When => {
    let made: Intl.DateTimeFormat | undefined; // slow to make, and not needed at the start
    return (at) => {
      const date = new Date(at);
      // One that is none must not break the page: it reads as nothing.
      return +date ? (made ??= new Intl.DateTimeFormat(language, options)).format(date) : "";
    };
  };
  const date = format({ day: "numeric", month: "long" });
  const relative = (numeric: "auto" | "always") => new Intl.RelativeTimeFormat(language, { numeric });
  return {
    t: { ...EN, ...strings },
    language,
    rtl: /^(he|iw|ar)\b/i.test(language),
    time: format({ timeStyle: "short" }),
    day(at) {
      const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / DAY);
      return days === 0 || days === 1 ? relative("auto").format(-days, "day") : date(at);
    },
    ahead(ms) {
      const [unit, length] = UNITS.find(([, l]) => ms >= 2 * l) ?? UNITS[3];
      return relative("always").format(Math.ceil(ms / length), unit);
    },
  };
}
