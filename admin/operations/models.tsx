/** Latency and errors of the models. */

import type { ModelFigures } from "../core/api.gen.ts";
import { count, duration, percent } from "../core/text.ts";
import { Section } from "../ui/page.tsx";
import { Badge, Empty } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Count, Figures } from "../ui/values.tsx";
import { words } from "./words.ts";

const { model } = words;
/** From this share of failed calls on a model is in trouble. */
const BAD = 0.05;

function rate(share: number | null) {
  if (share === null) return "–";
  return share === 0 ? percent(share) : <Badge tone={share < BAD ? "warn" : "bad"}>{percent(share)}</Badge>;
}

function times(half: number | null, most: number | null) {
  if (half === null || most === null) return "–";
  return <Figures of={[duration(half), duration(most)]} title={model.hint} />;
}

const codes = (errors: ModelFigures["errors"]) =>
  Object.entries(errors)
    .sort(([, a], [, b]) => b - a)
    .map(([code, n]) => `${code} ${count(n)}`)
    .join(", ") || "–";

const COLUMNS: Column<ModelFigures>[] = [
  {
    title: model.name,
    main: true,
    cell: (each) => (
      <>
        <code>{each.model}</code> <small class="hint">{each.provider}</small>
      </>
    ),
  },
  { title: model.calls, end: true, cell: ({ calls }) => <Count n={calls} /> },
  { title: model.errors, end: true, cell: ({ error_rate }) => rate(error_rate) },
  { title: model.codes, cell: ({ errors }) => codes(errors) },
  { title: model.first, end: true, cell: ({ first_p50_ms, first_p95_ms }) => times(first_p50_ms, first_p95_ms) },
  { title: model.whole, end: true, cell: ({ whole_p50_ms, whole_p95_ms }) => times(whole_p50_ms, whole_p95_ms) },
];

export function ModelTable({ models, window_s }: { models: ModelFigures[]; window_s: number }) {
  const empty = (
    <Empty icon="bolt" title={words.noModels.title}>
      {words.noModels.text}
    </Empty>
  );
  return (
    <Section title={words.models} hint={words.modelsHint(duration(window_s * 1000))} flush fd="models">
      <Table label={words.models} columns={COLUMNS} rows={models} keyOf={(each) => `${each.provider} ${each.model}`} empty={empty} />
    </Section>
  );
}
