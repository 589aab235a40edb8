/** PostgreSQL and Redis. */

import type { PostgresHealth, RedisHealth } from "../core/api.gen.ts";
import { bytes, count } from "../core/text.ts";
import { Facts, Section } from "../ui/page.tsx";
import { Badge, Meter, Notice } from "../ui/show.tsx";
import { Figure } from "../ui/values.tsx";
import { words } from "./words.ts";

/** A round trip is often below a millisecond. */
const trip = (ms: number) => <Figure>{`${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`}</Figure>;

const verdict = (ok: boolean) => <Badge tone={ok ? "good" : "bad"}>{ok ? words.ok : words.away}</Badge>;

export function Stores({ postgres, redis }: { postgres: PostgresHealth; redis: RedisHealth }) {
  return (
    <div class="operations-stores">
      <Section title={words.postgres} actions={verdict(postgres.ok)} fd="postgres">
        <Postgres {...postgres} />
      </Section>
      <Section title={words.redis} actions={verdict(redis.ok)} fd="redis">
        {redis.detail && <Notice tone={redis.ok ? "warn" : "bad"}>{redis.detail}</Notice>}
        <Facts
          rows={[
            [words.ms, redis.ms === null ? "–" : trip(redis.ms)],
            [words.memory, redis.used_memory_bytes === null ? "–" : <Figure>{bytes(redis.used_memory_bytes)}</Figure>],
            [words.serverVersion, redis.version ?? "–"],
          ]}
        />
      </Section>
    </div>
  );
}

function Postgres({ ms, version, connections, max_connections, size_bytes, migrations_missing }: PostgresHealth) {
  const used = (
    <span class="operations-used">
      <Figure>{`${count(connections)} / ${count(max_connections)}`}</Figure>
      <Meter value={connections} limit={max_connections} label={words.connections} />
    </span>
  );
  return (
    <>
      {migrations_missing > 0 && <Notice tone="bad">{words.missing(migrations_missing)}</Notice>}
      <Facts
        rows={[
          [words.ms, trip(ms)],
          [words.connections, used],
          [words.size, <Figure>{bytes(size_bytes)}</Figure>],
          [words.migrations, migrations_missing ? count(migrations_missing) : words.migrated],
          [words.serverVersion, version],
        ]}
      />
    </>
  );
}
