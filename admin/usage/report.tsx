/** Totals, four charts and the days as a table. */

import { useMemo, useState } from "preact/hooks";
import type { UsageOfDay, UsageReport, UsageSums } from "../core/api.gen.ts";
import { count, money, short } from "../core/text.ts";
import { Section } from "../ui/page.tsx";
import { Empty } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Count, Figure, Money, own } from "../ui/values.tsx";
import { Chart } from "./chart.tsx";
import { type Amount, linesOf, timesOf } from "./series.ts";
import { words } from "./words.ts";

const { amounts } = words;

interface Drawing {
  title: string;
  lines: { amount: Amount; label: string }[];
  format(value: number): string;
  brief(value: number): string;
  whole?: boolean;
}

const named = (amount: Amount) => ({ amount, label: amounts[amount] });
const numbers = { format: count, brief: short, whole: true };
const DRAWINGS: Drawing[] = [
  { title: `${amounts.messages}, ${amounts.conversations.toLowerCase()}`, lines: [named("messages"), named("conversations")], ...numbers },
  { title: amounts.cost, lines: [named("cost")], format: money, brief: brieflyMoney },
  { title: amounts.tokens, lines: [named("tokens_input"), named("tokens_output")], ...numbers },
  { title: `${amounts.tool_calls}, ${amounts.cached_answers.toLowerCase()}`, lines: [named("tool_calls"), named("cached_answers")], ...numbers },
];

/** At an axis all values have the same size, so trailing noughts say nothing. */
function brieflyMoney(usd: number): string {
  return usd >= 1000 ? `$${short(usd)}` : `$${Number(usd.toPrecision(3))}`;
}

export function Report({ report }: { report: UsageReport }) {
  const { days, totals } = report;
  const times = useMemo(() => timesOf(days), [days]);
  const charts = useMemo(() => DRAWINGS.map((each) => ({ ...each, lines: linesOf(days, each.lines) })), [days]);
  const used = totals.conversations + totals.messages + totals.tokens_input + totals.tool_calls > 0;
  return (
    <div class="usage-report" data-fd="report">
      <Tiles totals={totals} />
      {used ? (
        <div class="usage-charts">
          {charts.map((chart, i) => (
            <Chart key={chart.title} {...chart} times={times} group="usage" fd={`chart-${i}`} />
          ))}
        </div>
      ) : (
        <Section title={words.charts}>
          <Empty icon="usage" title={words.none.title}>
            {words.none.text}
          </Empty>
        </Section>
      )}
      {used && <Days days={days} />}
    </div>
  );
}

function Tiles({ totals }: { totals: UsageSums }) {
  const { conversations, messages, tokens_input, tokens_output, tool_calls, cached_answers, cost } = totals;
  const each = conversations ? words.perConversation(money(Number(cost) / conversations)) : undefined;
  return (
    <dl class="usage-tiles" aria-label={words.totals} data-fd="totals">
      <Tile name="conversations" label={amounts.conversations} value={count(conversations)} />
      <Tile name="messages" label={amounts.messages} value={count(messages)} />
      <Tile name="cost" label={amounts.cost} value={money(cost)} hint={each} />
      <Tile
        name="tokens"
        label={amounts.tokens}
        value={short(tokens_input + tokens_output)}
        hint={words.tokensHint(short(tokens_input), short(tokens_output))}
      />
      <Tile name="tool_calls" label={amounts.tool_calls} value={count(tool_calls)} />
      <Tile name="cached_answers" label={amounts.cached_answers} value={count(cached_answers)} hint={words.cachedHint} />
    </dl>
  );
}

function Tile({ name, label, value, hint }: { name: string; label: string; value: string; hint?: string }) {
  return (
    <div class="usage-tile" data-fd={`total-${name}`}>
      <dt>{label}</dt>
      <dd>
        <b>
          <Figure>{value}</Figure>
        </b>
        {hint && (
          <small>{own(hint)}</small>
        )}
      </dd>
    </div>
  );
}

const dayText = new Intl.DateTimeFormat("en", { weekday: "short", month: "short", day: "numeric", year: "numeric", timeZone: "UTC" });
const amount = (name: Exclude<Amount, "cost">): Column<UsageOfDay> => ({ title: amounts[name], end: true, cell: (day) => <Count n={day[name]} /> });
const COLUMNS: Column<UsageOfDay>[] = [
  { title: words.day, main: true, cell: ({ date }) => <time dateTime={date}>{dayText.format(Date.parse(date))}</time> },
  amount("conversations"),
  amount("messages"),
  amount("tokens_input"),
  amount("tokens_output"),
  amount("tool_calls"),
  amount("cached_answers"),
  { title: amounts.cost, end: true, cell: ({ cost }) => <Money usd={cost} /> },
];

/** Newest first. Built when it is opened: a year has 366 rows. */
function Days({ days }: { days: UsageOfDay[] }) {
  const [open, setOpen] = useState(false);
  const rows = useMemo(() => [...days].reverse(), [days]);
  return (
    <details class="usage-days" onToggle={(event) => setOpen(event.currentTarget.open)} data-fd="days">
      <summary>{words.asTable}</summary>
      {open && <Table label={words.charts} columns={COLUMNS} rows={rows} keyOf={({ date }) => date} />}
    </details>
  );
}
