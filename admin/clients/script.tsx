/** Whether the widget was seen on the site. Asked again while somebody looks, so that it shows by itself. */

import type { OriginSeen, ScriptSeen } from "../core/api.gen.ts";
import { useEvery, useResource } from "../core/resource.ts";
import { Button } from "../ui/button.tsx";
import { Badge, Load, Notice, Spinner } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Time } from "../ui/values.tsx";
import { words } from "./words.ts";

const { script } = words;
/** Milliseconds between two looks. */
const EVERY = 3000;

export interface SightingsProps {
  client_id: string;
  /** Allows an origin that loads the widget and may not. */
  onAllow?: (origin: string) => void;
}

export function Sightings({ client_id, onAllow }: SightingsProps) {
  const seen = useResource<ScriptSeen>(`/clients/${client_id}/script`);
  useEvery(EVERY, () => void seen.reload());
  return (
    <Load from={seen}>
      {({ seen_at, origins }) => (
        <div class="clients-script" data-fd="script" data-seen={seen_at !== null}>
          {seen_at ? (
            <Notice tone="good" title={script.seen}>
              {script.last} <Time at={seen_at} />
            </Notice>
          ) : (
            <div class="clients-waiting" role="status">
              <Spinner label={script.waiting} />
              <div>
                <strong>{script.waiting}</strong>
                <div class="hint">{script.waitingHint}</div>
              </div>
            </div>
          )}
          {origins.some(({ allowed }) => !allowed) && <Notice tone="warn">{script.refused}</Notice>}
          <Table label={words.origins.seen} columns={columns(onAllow)} rows={origins} keyOf={({ origin }) => origin} />
        </div>
      )}
    </Load>
  );
}

const moment = (at: string | null) => (at ? <Time at={at} /> : <span class="hint">{script.never}</span>);

const columns = (onAllow?: (origin: string) => void): Column<OriginSeen>[] => [
  { title: script.origin, main: true, cell: ({ origin }) => <code class="clients-origin">{origin}</code> },
  {
    title: script.state,
    cell: ({ origin, allowed }) =>
      allowed ? (
        <Badge tone="good">{script.allowed}</Badge>
      ) : (
        <>
          <Badge tone="warn">{script.notAllowed}</Badge>{" "}
          {onAllow && (
            <Button small kind="quiet" onClick={() => onAllow(origin)} fd="allow">
              {script.allow}
            </Button>
          )}
        </>
      ),
  },
  { title: script.firstAt, narrow: false, cell: ({ first_at }) => moment(first_at) },
  { title: script.lastAt, cell: ({ last_at }) => moment(last_at) },
];
