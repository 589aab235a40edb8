/**
 * The operator's desk: the socket, the list and the conversations that are watched over it.
 *
 * Watched are the one that is open, those that the operator has taken or still has to say something in, and, as glances of which
 * other operators are told nothing, those of the list that are on the screen and alive.
 */

import type { Colleague, ConversationWatch, FromOperator, OperatorWelcome } from "../../../widget-src/core/protocol.gen.ts";
import type { RawSocket } from "../../../widget-src/core/socket.ts";
import { createConversationStore, type ConversationStore, type OlderMessages } from "./conversation_store.ts";
import { createInboxStore, EMPTY_INBOX, type Inbox, type InboxStore, type ReadPage } from "./inbox_store.ts";
import { createOperatorSession, type Link, type OperatorSession, type Watcher } from "./operator_session.ts";
import type { Row } from "./rows.ts";
import { createSources, type Later, type Source } from "./source.ts";
import { emptyTalk, type Talk } from "./talk.ts";

/** What there is of the connection to say. */
export interface Line {
  link: Link;
  /** The close code that ended it. */
  code: number;
  /** It was up once: what is shown may be old. */
  greeted: boolean;
  me: Colleague | null;
}

export interface DeskOptions {
  url: string;
  ticket(): Promise<string>;
  readPage: ReadPage;
  readOlder(id: string, before: string): Promise<OlderMessages>;
  signedOut(): void;
  /** A visitor begins to wait for a person. */
  waits(row: Row): void;
  later: Later;
  makeSocket?: (url: string) => RawSocket;
  random?: () => number;
}

export interface Desk {
  readonly line: Source<Line>;
  readonly inbox: InboxStore;
  /** The same one as long as it is kept. */
  conversation(id: string): ConversationStore;
  /** Somebody reads this one; null: none. */
  open(id: string | null): void;
  /** These rows of the list are on the screen. */
  glance(ids: string[]): void;
  start(): void;
  stop(): void;
  nudge(): void;
}

/** Until the server says how many conversations one socket may watch. */
const WATCHES = 50;
/** Kept free, so that one that is opened need not wait for another to be let go. */
const SPARE = 4;
/** A conversation is alive in which something happened so lately (ms); in others nothing streams. */
const ALIVE = 10 * 60_000;
/** Conversations that are kept after they were watched, to show at once when they are opened again. */
const KEPT = 100;

export function createDesk(options: DeskOptions): Desk {
  const source = createSources(options.later);
  const line = source<Line>({ link: "idle", code: 0, greeted: false, me: null });
  const stores = new Map<string, ConversationStore>();
  // By conversation, whether as a glance. In the order in which they were wanted last.
  const watched = new Map<string, boolean>();
  let limit = WATCHES;
  let opened: string | null = null;
  let seen: string[] = [];

  const session: OperatorSession = createOperatorSession({
    url: options.url,
    ticket: options.ticket,
    makeSocket: options.makeSocket,
    random: options.random,
    on: {
      link: (link, code) => line.set({ ...line.get(), link, code }),
      welcome(frame: OperatorWelcome) {
        limit = frame.watches;
        line.set({ ...line.get(), greeted: true, me: frame.operator });
      },
      lost() {
        for (const store of stores.values()) store.lost();
      },
      answered: (frame) => stores.get(frame.conversation_id)?.receive(frame),
      inbox(frame) {
        inbox.receive(frame);
        arrange();
      },
      error(frame) {
        // A ticket that came too late is followed by another one, or by the sign-in page.
        if (frame.code !== "bad_ticket") console.warn("[frontdesk]", frame.code, frame.message);
      },
      signedOut: options.signedOut,
    },
  });
  const inbox = createInboxStore(source<Inbox>(EMPTY_INBOX), options.readPage, (row) => {
    // Another operator's visitor is theirs.
    if (row.owner !== "human" || isMine(row)) options.waits(row);
  });

  function conversation(id: string): ConversationStore {
    let store = stores.get(id);
    if (!store) {
      store = createConversationStore(source<Talk>(emptyTalk(id)), {
        send: (frame: FromOperator) => session.send(frame),
        again: () => session.again(id),
        older: (before) => options.readOlder(id, before),
        present: () => id === opened,
      });
    }
    // The one that was used last is let go last.
    stores.delete(id);
    stores.set(id, store);
    return store;
  }

  const isMine = (row: Row | undefined) => row?.owner === "human" && row.operator?.id === line.get().me?.id;
  const isAlive = (row: Row | undefined) => !!row && row.owner !== "closed" && Date.now() - Date.parse(row.last_activity_at) < ALIVE;
  const hasPending = (id: string) => !!stores.get(id)?.talk.get().state.outbox.some((d) => d.state === "sending");

  /** What is to be watched, the most wanted first, and whether as a glance. */
  function wanted(): Map<string, boolean> {
    const all = new Map<string, boolean>();
    if (opened) all.set(opened, false);
    for (const id of stores.keys()) if (hasPending(id)) all.set(id, false);
    for (const id of watched.keys()) if (isMine(inbox.row(id))) all.set(id, false);
    for (const id of seen) {
      if (isMine(inbox.row(id))) all.set(id, false);
      else if (!all.has(id) && isAlive(inbox.row(id))) all.set(id, true);
    }
    return new Map([...all].slice(0, limit - SPARE));
  }

  /** Watches what is wanted; what is not is let go where its place is needed, or where others are told that one is there. */
  function arrange(): void {
    const want = wanted();
    for (const [id, glance] of [...watched]) {
      if (want.has(id) || (glance && watched.size <= limit - SPARE)) continue;
      watched.delete(id);
      session.unwatch(id);
    }
    for (const [id, glance] of want) {
      const was = watched.get(id);
      if (was === glance) continue;
      while (was === undefined && watched.size >= limit - SPARE && letGo(want));
      watched.set(id, glance);
      session.watch(id, asWatched(conversation(id), () => watched.get(id) === true));
    }
    forget();
  }

  /** The oldest glance that nobody wants; false: there is none. */
  function letGo(want: Map<string, boolean>): boolean {
    for (const id of watched.keys()) {
      if (want.has(id)) continue;
      watched.delete(id);
      session.unwatch(id);
      return true;
    }
    return false;
  }

  function forget(): void {
    for (const id of stores.keys()) {
      if (stores.size <= KEPT) return;
      if (!watched.has(id) && id !== opened) stores.delete(id);
    }
  }

  return {
    line,
    inbox,
    conversation,
    open(id) {
      if (id === opened) return;
      opened = id;
      arrange();
    },
    glance(ids) {
      seen = ids;
      arrange();
    },
    start: session.start,
    stop: session.stop,
    nudge: session.nudge,
  };
}

/** The store as a watcher that asks as a glance while it is one. */
function asWatched(store: ConversationStore, isGlance: () => boolean): Watcher {
  return {
    ...store,
    hello() {
      const asked: ConversationWatch & { glance: boolean } = { ...store.hello(), glance: isGlance() };
      return asked;
    },
  };
}
