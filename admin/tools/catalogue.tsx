/** The catalogue of tools. */

import type { Catalogue, CatalogueTool } from "../core/api.gen.ts";
import { useResource } from "../core/resource.ts";
import { may } from "../core/session.ts";
import { Button } from "../ui/button.tsx";
import { Page, Section } from "../ui/page.tsx";
import { Empty, Foreign, Load, Notice, Skeleton } from "../ui/show.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { EffectMark, ProofMark } from "./marks.tsx";
import { words } from "./words.ts";

const COLUMNS: Column<CatalogueTool>[] = [
  {
    title: words.name,
    main: true,
    cell: ({ tool_name, description }) => (
      <span class="tools-name">
        <code>{tool_name}</code>
        <small class="hint">
          <Foreign text={description} />
        </small>
      </span>
    ),
  },
  { title: words.category, cell: ({ category }) => <Foreign text={category} />, narrow: false },
  { title: words.effect, cell: ({ effect }) => <EffectMark effect={effect} /> },
  { title: words.proof, cell: (tool) => <ProofMark {...tool} /> },
];

export default function CataloguePage() {
  const catalogue = useResource<Catalogue>("/tools");
  const add = may("owner") && (
    <Button kind="primary" icon="plus" to="/tools/+new" fd="new-tool">
      {words.new}
    </Button>
  );
  return (
    <Page title={words.title} subtitle={words.subtitle} actions={add}>
      {!may("owner") && <Notice>{words.readOnly}</Notice>}
      <Load from={catalogue} skeleton={<Skeleton rows={6} />}>
        {({ rows }) => (
          <Section flush>
            <Table
              label={words.title}
              columns={COLUMNS}
              rows={rows}
              keyOf={({ tool_name }) => tool_name}
              to={({ tool_name }) => `/tools/${tool_name}`}
              empty={
                <Empty icon="tools" title={words.empty.title} action={add}>
                  {words.empty.text}
                </Empty>
              }
            />
          </Section>
        )}
      </Load>
    </Page>
  );
}
