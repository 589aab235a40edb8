/** The tools that were called most, and how often they failed. */

import type { UsageByTool, UsageOfTool } from "../core/api.gen.ts";
import { withQuery } from "../core/api.ts";
import { useResource } from "../core/resource.ts";
import { percent } from "../core/text.ts";
import { Section } from "../ui/page.tsx";
import { Badge, Empty, Load, Skeleton } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Count, Duration } from "../ui/values.tsx";
import { words } from "./words.ts";

/** From this share of failures on a tool needs somebody to look at it. */
const POOR = 0.05;
const BAD = 0.2;

function rate(share: number | null) {
  if (share === null) return "–";
  return share < POOR ? percent(share) : <Badge tone={share < BAD ? "warn" : "bad"}>{percent(share)}</Badge>;
}

const time = (ms: number | null) => (ms === null ? "–" : <Duration ms={ms} />);

const COLUMNS: Column<UsageOfTool>[] = [
  { title: words.tool, main: true, cell: ({ name }) => <code dir="auto">{name}</code> },
  { title: words.calls, end: true, cell: ({ calls }) => <Count n={calls} /> },
  { title: words.failed, end: true, cell: ({ failed }) => <Count n={failed} /> },
  { title: words.rate, end: true, cell: ({ failure_rate }) => rate(failure_rate) },
  { title: words.refused, end: true, narrow: false, cell: ({ refused }) => <Count n={refused} /> },
  { title: words.unknown, end: true, narrow: false, cell: ({ unknown }) => <Count n={unknown} /> },
  { title: words.median, end: true, cell: ({ p50_ms }) => time(p50_ms) },
  { title: words.p95, end: true, cell: ({ p95_ms }) => time(p95_ms) },
];

export function Tools({ from, to, client_id }: { from: string; to: string; client_id: string | null }) {
  const tools = useResource<UsageByTool>(withQuery("/usage/tools", { from, to, client_id }));
  return (
    <Section title={words.tools} hint={tools.value && words.toolsHint(tools.value.kept_days)} flush>
      <Load from={tools} skeleton={<Skeleton rows={4} />}>
        {({ rows }) => (
          <Table
            label={words.tools}
            columns={COLUMNS}
            rows={rows}
            keyOf={({ name }) => name}
            empty={<Empty icon="tools" title={words.noTools} />}
          />
        )}
      </Load>
    </Section>
  );
}
