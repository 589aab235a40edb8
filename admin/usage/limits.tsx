/** A client's limits: unit, what is used now, and when it begins anew. */

import type { ClientLimits, LimitInfo } from "../core/api.gen.ts";
import { useResource } from "../core/resource.ts";
import { count } from "../core/text.ts";
import { Load, Meter, Skeleton } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Count, own, Time } from "../ui/values.tsx";
import { words } from "./words.ts";

const MINUTE = 60_000;

function used({ label, value, limit }: LimitInfo) {
  if (value === null) return "–";
  if (limit === null) return <Count n={value} />;
  return (
    <span class="usage-limit">
      <Count n={value} />
      <Meter value={value} limit={limit} label={label} />
    </span>
  );
}

const allowed = ({ limit, unit, per }: LimitInfo) => own(`${limit === null ? words.unlimited : `${count(limit)} ${unit}`} ${words.each[per]}`);

/** Most begin anew within the minute, which is not "just now". */
function resets(at: string | null) {
  if (!at) return words.never;
  return Date.parse(at) - Date.now() < MINUTE ? words.soon : <Time at={at} />;
}

const COLUMNS: Column<LimitInfo>[] = [
  { title: words.limit, main: true, cell: ({ label }) => label },
  { title: words.allowed, cell: allowed },
  { title: words.used, cell: used },
  { title: words.resets, cell: ({ resets_at }) => resets(resets_at) },
];

export function Limits({ client_id }: { client_id: string }) {
  const limits = useResource<ClientLimits>(`/clients/${client_id}/limits`);
  return (
    <Load from={limits} skeleton={<Skeleton rows={4} />}>
      {({ rows }) => <Table label={words.limits} columns={COLUMNS} rows={rows} keyOf={({ name }) => name} />}
    </Load>
  );
}
