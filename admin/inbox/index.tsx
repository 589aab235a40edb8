/** The inbox: all conversations live, and beside them the one that is open. */

import { useEffect, useLayoutEffect } from "preact/hooks";
import type { PageProps } from "../pages.tsx";
import { Empty } from "../ui/show.tsx";
import { Page } from "../ui/page.tsx";
import { ConversationPane } from "./conversation.tsx";
import { ListPane } from "./list.tsx";
import { desk, openConversation, startDesk } from "./live.ts";
import { useSource } from "./use_source.ts";
import { WORDS } from "./words.ts";

export default function InboxPage({ params }: PageProps<"/inbox/:conversation_id?">) {
  const id = params.conversation_id ?? null;
  const waiting = useSource(desk.inbox.view, ({ waiting: rows }) => rows.length);
  useEffect(startDesk, []);
  useLayoutEffect(() => {
    openConversation(id);
    return () => openConversation(null);
  }, [id]);
  return (
    <Page title={waiting ? `(${waiting}) ${WORDS.title}` : WORDS.title} fill fd="inbox">
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
