/** The inbox: all conversations live, and beside them the one that is open. */

import { useEffect, useLayoutEffect } from "preact/hooks";
import type { PageProps } from "../pages.tsx";
import { Empty } from "../ui/show.tsx";
import { Page } from "../ui/page.tsx";
import { ConversationPane } from "./conversation.tsx";
import { ListPane } from "./list.tsx";
import { openConversation, startDesk } from "./live.ts";
import { WORDS } from "./words.ts";

export default function InboxPage({ params }: PageProps<"/inbox/:conversation_id?">) {
  const id = params.conversation_id ?? null;
  useEffect(startDesk, []);
  useLayoutEffect(() => {
    openConversation(id);
    return () => openConversation(null);
  }, [id]);
  return (
    <Page title={WORDS.title} fill fd="inbox">
      <div class={`inbox${id ? " inbox-reading" : ""}`}>
        <ListPane opened={id} />
        {id ? (
          <ConversationPane key={id} id={id} />
        ) : (
          <div class="inbox-nothing">
            <Empty icon="inbox" title={WORDS.nothingOpen} fd="nothing-open">
              {WORDS.nothingOpenText}
            </Empty>
          </div>
        )}
      </div>
    </Page>
  );
}
