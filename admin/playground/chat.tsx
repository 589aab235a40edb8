/** The chat itself: the widget's own view in a frame, over a real session. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { ClientDetail, PlaygroundSession } from "../core/api.gen.ts";
import { useLatest } from "../core/resource.ts";
import { openStage } from "../clients/stage.ts";
import { openTalk } from "./talk.ts";
import { words } from "./words.ts";

/** An empty page of our own, as the preview of looks has it. */
const PAGE = "/admin/preview";

export interface ChatProps {
  client: ClientDetail;
  session: PlaygroundSession;
  dark: boolean;
  /** A turn has begun or ended: `mark` is another one then. */
  onTurn: () => void;
}

export function Chat({ client, session, dark, onTurn }: ChatProps) {
  const frame = useRef<HTMLIFrameElement>(null);
  const [page, setPage] = useState<Document | null>(null);
  const told = useLatest(onTurn);
  useEffect(() => {
    if (!page) return undefined;
    let mark = "";
    const draft = { name: client.name, widget: client.widget, locale: "en", strings: null, dark, phone: true, sample: "" };
    const talk = (draw: () => void) =>
      openTalk(session, ({ messages, live, failed, waiting }) => {
        draw();
        const now = `${messages.length} ${live?.turn_id ?? ""} ${live?.tools?.length ?? 0} ${failed ? 1 : 0} ${waiting}`;
        if (now === mark) return;
        mark = now;
        told.current();
      });
    const stage = openStage(page, draft, talk);
    return () => stage.end();
  }, [page, session.session_id, dark]);
  return (
    <iframe
      ref={frame}
      class="play-frame"
      title={words.chat.frame}
      src={PAGE}
      // No script of the page runs; its document is ours to draw into.
      sandbox="allow-same-origin"
      onLoad={() => setPage(frame.current?.contentDocument ?? null)}
      data-fd="chat-frame"
    />
  );
}
