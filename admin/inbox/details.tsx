/** Beside the conversation: who the visitor is, who is there, and what it took so far. */

import type { ConversationHead } from "../core/api.gen.ts";
import type { Resource } from "../core/resource.ts";
import { may } from "../core/session.ts";
import { language } from "../core/text.ts";
import { KeepCase } from "../playground/keep.tsx";
import { Button } from "../ui/button.tsx";
import { CopyField } from "../ui/code.tsx";
import { Facts } from "../ui/page.tsx";
import { Avatar, Badge, Load } from "../ui/show.tsx";
import { Count, Money, Time, Tokens } from "../ui/values.tsx";
import type { Talk } from "./core/talk.ts";
import { WORDS } from "./words.ts";

const foreign = (text: string | null | undefined) => (text ? <bdi dir="auto">{text}</bdi> : "–");

function Visitor({ visitor, user_identifier }: ConversationHead) {
  if (!visitor) return user_identifier ? <Facts rows={[[WORDS.claims, foreign(user_identifier)]]} /> : null;
  const verified = visitor.verified_until !== null;
  return (
    <Facts
      rows={[
        [WORDS.email, foreign(visitor.email)],
        [WORDS.externalId, foreign(visitor.external_id)],
        ["", <Badge tone={verified ? "good" : "neutral"}>{verified ? WORDS.verified : WORDS.notVerified}</Badge>],
      ]}
    />
  );
}

function Operators({ talk, me }: { talk: Talk; me: number | undefined }) {
  const others = talk.operators.filter((each) => each.id !== me);
  return (
    <>
      <h3>{WORDS.operators}</h3>
      {others.length ? (
        <ul class="inbox-people">
          {others.map((each) => (
            <li key={each.id}>
              <Avatar name={each.name} url={each.avatar_url} size={24} />
              <bdi dir="auto">{each.name}</bdi>
            </li>
          ))}
        </ul>
      ) : (
        <p class="hint">{WORDS.nobody}</p>
      )}
    </>
  );
}

export function Details({ head, talk, me, onHide }: { head: Resource<ConversationHead>; talk: Talk; me: number | undefined; onHide: () => void }) {
  return (
    <aside class="inbox-details" aria-label={WORDS.details} data-fd="details-pane">
      <header>
        <h2>{WORDS.details}</h2>
        <Button kind="quiet" small icon="close" label={WORDS.hideDetails} onClick={onHide} fd="details-hide" />
      </header>
      <Load from={head}>
        {(value) => (
          <>
            <Visitor {...value} />
            <Facts
              fd="totals"
              rows={[
                [WORDS.client, foreign(value.client.name)],
                [WORDS.channel, WORDS.channels[value.channel]],
                [WORDS.language, value.locale ? foreign(language(value.locale)) : "–"],
                [WORDS.started, <Time at={value.started_at} absolute />],
                [WORDS.lastActivity, <Time at={value.last_activity_at} />],
                [WORDS.messages, <Count n={value.totals.messages} />],
                [WORDS.tokens, <Tokens input={value.totals.tokens_input} output={value.totals.tokens_output} />],
                [WORDS.cost, <Money usd={value.totals.cost} />],
              ]}
            />
            {value.summary && (
              <>
                <h3>{WORDS.summary}</h3>
                <p class="inbox-summary" dir="auto">
                  {value.summary}
                </p>
              </>
            )}
            <Operators talk={talk} me={me} />
            <CopyField label="Id" value={value.conversation_id} />
            {may("admin") && <KeepCase client_id={value.client.id} conversation_id={value.conversation_id} disabled={!value.totals.messages} />}
          </>
        )}
      </Load>
    </aside>
  );
}
