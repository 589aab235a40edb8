/** What a client used this month, against its plan. */

import type { ClientDetail } from "../core/api.gen.ts";
import { withQuery } from "../core/api.ts";
import { count, money, short } from "../core/text.ts";
import { Button } from "../ui/button.tsx";
import { Section, Stat } from "../ui/page.tsx";
import { Meter, Notice } from "../ui/show.tsx";
import { words } from "./words.ts";

const { overview } = words;
/** From this share of the plan on somebody should know. */
const NEAR = 0.8;

const day = new Intl.DateTimeFormat("en", { month: "long", day: "numeric", timeZone: "UTC" });

export function Month({ client }: { client: ClientDetail }) {
  const { month, plan } = client;
  const { messages, monthly_messages, tokens_input, tokens_output } = month;
  const report = (
    <Button icon="usage" to={withQuery("/usage", { period: "month", client: client.id })}>
      {overview.reports}
    </Button>
  );
  return (
    <Section title={overview.month} hint={overview.monthHint(day.format(Date.parse(month.since)))} actions={report} fd="month">
      <Warning messages={messages} limit={monthly_messages} />
      <div class="clients-figures">
        <Stat
          label={overview.messages}
          value={count(messages)}
          hint={
            monthly_messages === null ? (
              overview.unlimited(plan)
            ) : (
              <>
                {overview.of(monthly_messages, plan)}
                <Meter value={messages} limit={monthly_messages} label={overview.messages} />
              </>
            )
          }
          fd="month-messages"
        />
        <Stat label={overview.conversations} value={count(month.conversations)} fd="month-conversations" />
        <Stat label={overview.cost} value={money(month.cost)} fd="month-cost" />
        <Stat label={overview.tokens} value={short(tokens_input + tokens_output)} hint={overview.tokensHint(short(tokens_input), short(tokens_output))} />
        <Stat label={overview.tools} value={count(month.tool_calls)} />
        <Stat label={overview.cached} value={count(month.cached_answers)} />
      </div>
    </Section>
  );
}

function Warning({ messages, limit }: { messages: number; limit: number | null }) {
  if (limit === null || messages < limit * NEAR) return null;
  const full = messages >= limit;
  const { title, text } = full ? overview.full : overview.near;
  return (
    <Notice tone={full ? "bad" : "warn"} title={title}>
      {text}
    </Notice>
  );
}
