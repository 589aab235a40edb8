/** Above the conversation: who it is with, who else is there, and whose it is. */

import type { ConversationHead } from "../core/api.gen.ts";
import { Button } from "../ui/button.tsx";
import { Avatar, Foreign } from "../ui/show.tsx";
import type { ConversationStore } from "./core/conversation_store.ts";
import type { Talk } from "./core/talk.ts";
import { OwnerBadge, Waits } from "./row.tsx";
import { fill, WORDS } from "./words.ts";

/** Whose a conversation is. `holder` is the name of the person who has it. */
export interface Standing {
  owner: ConversationHead["owner"];
  mine: boolean;
  holder: string | null;
}

/** Why it cannot be taken over: a colleague has it. Null: it can. */
export const takenBy = ({ owner, mine, holder }: Standing): string | null =>
  owner === "human" && !mine ? fill(WORDS.takenBy, { name: holder ?? WORDS.someone }) : null;

interface HeadBarProps {
  visitor: string;
  /** Where the list is, with its filters. */
  list: string;
  head: ConversationHead | undefined;
  talk: Talk;
  me: number | undefined;
  stands: Standing;
  store: ConversationStore;
  onClose: () => void;
  details: boolean;
  onDetails: () => void;
}

function Commands({ talk, stands, store, onClose }: Pick<HeadBarProps, "talk" | "stands" | "store" | "onClose">) {
  const runs = (name: keyof Talk["commands"]) => talk.commands[name]?.state === "running";
  const { owner, mine } = stands;
  return (
    <>
      {talk.state.live && (
        <Button icon="stop" busy={runs("turn.stop")} onClick={store.stop} fd="stop">
          {WORDS.stop}
        </Button>
      )}
      {mine ? (
        <Button icon="bolt" busy={runs("conversation.release")} onClick={store.release} fd="release">
          {WORDS.release}
        </Button>
      ) : (
        <Button icon="hand" busy={runs("conversation.take")} blocked={takenBy(stands) ?? undefined} onClick={store.takeOver} fd="take">
          {WORDS.take}
        </Button>
      )}
      {owner !== "closed" && (
        <Button icon="check" busy={runs("conversation.close")} onClick={onClose} fd="close">
          {WORDS.close}
        </Button>
      )}
    </>
  );
}

export function HeadBar({ visitor, list, head, talk, me, stands, details, onDetails, ...rest }: HeadBarProps) {
  const others = talk.operators.filter((each) => each.id !== me);
  const { visitorOnline: online } = talk;
  return (
    <header class="inbox-head">
      <span class="inbox-back">
        <Button kind="quiet" icon="back" label={WORDS.back} to={list} fd="back" />
      </span>
      <Avatar name={visitor} size={36} online={online ?? undefined} />
      <div class="inbox-who">
        <h2>
          <Foreign text={visitor} />
        </h2>
        <p>
          {head && <bdi dir="auto">{head.client.name}</bdi>}
          {online !== null && <span data-fd={online ? "visitor-online" : "visitor-away"}>{online ? WORDS.online : WORDS.away}</span>}
        </p>
      </div>
      <span class="inbox-marks">
        {head?.waiting_since && stands.owner !== "ai" && <Waits since={head.waiting_since} />}
        <OwnerBadge owner={stands.owner} operator={stands.holder === null ? null : { name: stands.holder }} mine={stands.mine} />
      </span>
      {others.length > 0 && (
        <span class="inbox-others" data-fd="others">
          {others.slice(0, 4).map((each) => (
            <span key={each.id} title={fill(WORDS.here, { name: each.name })}>
              <Avatar name={each.name} url={each.avatar_url} size={26} />
              <span class="unseen">{fill(WORDS.here, { name: each.name })}</span>
            </span>
          ))}
        </span>
      )}
      <span class="inbox-commands">
        <Commands talk={talk} stands={stands} {...rest} />
        <Button kind="quiet" icon="info" label={details ? WORDS.hideDetails : WORDS.details} pressed={details} onClick={onDetails} fd="details" />
      </span>
    </header>
  );
}
