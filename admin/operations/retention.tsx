/** How long what was said and done is kept. */

import type { RetentionState } from "../core/api.gen.ts";
import { Facts, Section } from "../ui/page.tsx";
import { Notice } from "../ui/show.tsx";
import { Time } from "../ui/values.tsx";
import { words } from "./words.ts";

function kept(days: number, oldest: string | null) {
  if (!oldest) return `${words.keep(days)}, ${words.nothing}`;
  return (
    <bdi>
      {words.keep(days)}, {words.oldestAt} <Time at={oldest} />
    </bdi>
  );
}

export function Retention({ retention }: { retention: RetentionState }) {
  const { message_days, tool_days, oldest_content_at, oldest_event_at, oldest_tool_call_at, overdue, run_at } = retention;
  return (
    <Section title={words.retention} hint={words.retentionHint} fd="retention">
      {overdue && (
        <Notice tone="warn" title={words.overdue.title}>
          {words.overdue.text}
        </Notice>
      )}
      <Facts
        rows={[
          [words.messages, kept(message_days, oldest_content_at)],
          [words.events, kept(message_days, oldest_event_at)],
          [words.tools, kept(tool_days, oldest_tool_call_at)],
          [words.lastRun, run_at ? <Time at={run_at} /> : words.neverRun],
        ]}
      />
    </Section>
  );
}
