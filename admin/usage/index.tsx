/** What clients used: totals, days, clients, tools, limits. */

import type { UsageByClient, UsageReport } from "../core/api.gen.ts";
import { url, withQuery } from "../core/api.ts";
import { useResource } from "../core/resource.ts";
import { useMe } from "../core/session.ts";
import { useQuery } from "../router.ts";
import { Icon } from "../ui/icon.tsx";
import { Page, Section } from "../ui/page.tsx";
import { Load, Notice } from "../ui/show.tsx";
import { ClientsTable } from "./clients.tsx";
import { Limits } from "./limits.tsx";
import { periodOf } from "./period.ts";
import { Picker } from "./picker.tsx";
import { Report } from "./report.tsx";
import { Tools } from "./tools.tsx";
import { words } from "./words.ts";

export default function Usage() {
  const me = useMe();
  const [query] = useQuery();
  const period = periodOf(query, Date.now());
  const all = me.client_id === null;
  const client_id = all ? query.get("client") || null : String(me.client_id);
  const { from, to, problem } = period;
  const asked = problem ? null : { from, to };
  const report = useResource<UsageReport>(asked && withQuery("/usage", { ...asked, client_id }));
  const clients = useResource<UsageByClient>(asked && all ? withQuery("/usage/clients", asked) : null);
  return (
    <Page title={words.title} subtitle={words.subtitle} actions={asked && <Csv query={{ ...asked, client_id }} />}>
      <Picker period={period} client_id={client_id} clients={all ? (clients.value?.rows ?? []) : null} />
      {problem ? (
        <Notice tone="warn">{words.problems[problem]}</Notice>
      ) : (
        <>
          <Load from={report} skeleton={<ReportSkeleton />}>
            {(value) => <Report report={value} />}
          </Load>
          {all && client_id === null && <ClientsTable clients={clients} period={period} />}
          <Tools from={from} to={to} client_id={client_id} />
          {client_id !== null && (
            <Section title={words.limits} hint={words.limitsHint} flush>
              <Limits client_id={client_id} />
            </Section>
          )}
        </>
      )}
    </Page>
  );
}

function Csv({ query }: { query: Record<string, string | null> }) {
  return (
    <a class="button" href={url("/usage.csv", query)} download data-fd="csv">
      <Icon name="download" />
      {words.csv}
    </a>
  );
}

function ReportSkeleton() {
  return (
    <div class="usage-report" aria-hidden="true">
      <div class="usage-tiles">
        {Array.from({ length: 6 }, (_, i) => (
          <span key={i} class="usage-tile usage-ghost" />
        ))}
      </div>
      <div class="usage-charts">
        {Array.from({ length: 4 }, (_, i) => (
          <span key={i} class="usage-chart usage-ghost" />
        ))}
      </div>
    </div>
  );
}
