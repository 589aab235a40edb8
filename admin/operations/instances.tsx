/** The server processes. */

import type { InstanceInfo } from "../core/api.gen.ts";
import { bytes } from "../core/text.ts";
import { Section } from "../ui/page.tsx";
import { Badge } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Count, Figure, Time } from "../ui/values.tsx";
import { words } from "./words.ts";

const { instance } = words;

function state({ alive, draining, redis_away }: InstanceInfo) {
  if (!alive) return <Badge>{instance.gone}</Badge>;
  return (
    <>
      {draining ? <Badge tone="warn">{instance.draining}</Badge> : <Badge tone="good">{instance.alive}</Badge>}
      {redis_away && <Badge tone="bad">{instance.redisAway}</Badge>}
    </>
  );
}

const COLUMNS: Column<InstanceInfo>[] = [
  {
    title: instance.name,
    main: true,
    cell: (each) => (
      <>
        <code>{each.instance}</code> {each.here && <small class="hint">{instance.here}</small>}
      </>
    ),
  },
  { title: instance.state, cell: state },
  { title: instance.sockets, end: true, cell: ({ visitor_sockets }) => <Count n={visitor_sockets} /> },
  { title: instance.operators, end: true, cell: ({ operator_sockets }) => <Count n={operator_sockets} /> },
  { title: instance.turns, end: true, cell: ({ running_turns }) => <Count n={running_turns} /> },
  { title: instance.memory, end: true, narrow: false, cell: ({ memory_bytes }) => (memory_bytes === null ? "–" : <Figure>{bytes(memory_bytes)}</Figure>) },
  { title: instance.version, cell: ({ version }) => version },
  { title: instance.started, narrow: false, cell: ({ started_at }) => <Time at={started_at} /> },
  { title: instance.seen, cell: ({ seen_at }) => <Time at={seen_at} /> },
];

export function Instances({ instances }: { instances: InstanceInfo[] }) {
  return (
    <Section title={words.instances} hint={words.instancesHint} flush fd="instances">
      <Table label={words.instances} columns={COLUMNS} rows={instances} keyOf={(each) => each.instance} />
    </Section>
  );
}
