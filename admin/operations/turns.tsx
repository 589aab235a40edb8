/** Turns that run or wait. */

import type { TurnNow, TurnsNow } from "../core/api.gen.ts";
import { count, duration } from "../core/text.ts";
import { Section, Stat } from "../ui/page.tsx";
import { Badge, Empty, Foreign } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Duration } from "../ui/values.tsx";
import { words } from "./words.ts";

const { turn } = words;

const age = (seconds: number | null) => (seconds === null ? undefined : words.oldest(duration(seconds * 1000)));

function status({ status, why }: TurnNow) {
  if (why) return <Badge tone="bad">{words.stuck}</Badge>;
  return status === "running" ? <Badge tone="accent">{words.running}</Badge> : <Badge>{words.queued}</Badge>;
}

const COLUMNS: Column<TurnNow>[] = [
  { title: turn.client, main: true, cell: ({ client_name }) => <Foreign text={client_name} /> },
  { title: turn.status, cell: status },
  { title: turn.age, end: true, cell: ({ since_s }) => <Duration ms={since_s * 1000} /> },
  { title: turn.attempts, end: true, cell: ({ attempts }) => attempts },
  { title: turn.instance, narrow: false, cell: ({ instance }) => (instance ? <code>{instance}</code> : "–") },
  { title: turn.why, cell: ({ why }) => why ?? "–" },
];

export function Turns({ turns }: { turns: TurnsNow }) {
  const { running, queued, stuck, oldest_queued_s, oldest_running_s, rows } = turns;
  const missing = running + queued - rows.length;
  return (
    <Section title={words.turns} hint={words.turnsHint} flush fd="turns">
      <div class="operations-figures">
        <Stat label={words.running} value={count(running)} hint={age(oldest_running_s)} fd="running" />
        <Stat label={words.queued} value={count(queued)} hint={age(oldest_queued_s)} fd="queued" />
        <Stat label={words.stuck} value={count(stuck)} tone={stuck ? "bad" : undefined} fd="stuck" />
      </div>
      <Table
        label={words.turns}
        columns={COLUMNS}
        rows={rows}
        keyOf={({ turn_id }) => turn_id}
        to={({ conversation_id }) => `/inbox/${conversation_id}`}
        empty={
          <Empty icon="check" title={words.noTurns.title}>
            {words.noTurns.text}
          </Empty>
        }
      />
      {missing > 0 && <p class="hint operations-note">{words.more(missing)}</p>}
    </Section>
  );
}
