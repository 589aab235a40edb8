/** A conversation of the playground, held as a visitor's page would hold it: over the same socket, with the same session. */

import type { PlaygroundSession } from "../core/api.gen.ts";
import { createSession, type Session, type Snap } from "../../widget-src/core/session.ts";
import { openShelf } from "../../widget-src/core/storage.ts";
import { announce } from "../../widget-src/view/store.ts";
import type { Talk } from "../clients/stage.ts";

/** Its credentials are kept in memory alone, and end with the page. */
export function openTalk(begun: PlaygroundSession, changed: (snap: Snap) => void): Talk {
  const shelf = openShelf("playground", () => {
    throw new Error("kept in memory");
  });
  shelf.write({ session: { id: begun.session_id, token: begun.session_token } });
  const session: Session = createSession({
    key: begun.public_key,
    api: location.origin,
    shelf,
    locale: () => begun.locale,
    page: () => location.origin + location.pathname,
    changed,
    emit: () => undefined,
    heard: announce,
  });
  return {
    session,
    open() {
      session.looking(true);
      session.start();
    },
    say: (text) => session.send(text),
    begin: () => undefined,
    end: () => session.close(),
  };
}
