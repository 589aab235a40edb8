/**
 * The list of conversations: pages from its own route, kept as they are now by the rows that come over the socket.
 *
 * A row is newer by its seq. Rows that came while nobody listened are found by what the socket's page shows: it reaches back
 * to what was known, or the list is read anew. Pages are read after the socket listens, so nothing falls between.
 */

import type { InboxPage, InboxUpdated } from "../../../widget-src/core/protocol.gen.ts";
import type { ConversationPage } from "../../core/api.gen.ts";
import { ANY, fits, isLive, lacksDetails, merge, moment, place, sameFilter, type Filter, type Row } from "./rows.ts";
import type { Held, Source } from "./source.ts";

export interface Inbox {
  filter: Filter;
  /** Those that the filter shows, newest activity first. */
  rows: Row[];
  /** Nothing is known yet of this filter. */
  loading: boolean;
  /** There are older ones. */
  more: boolean;
  loadingMore: boolean;
  /** The last page could not be read. */
  error: unknown;
  /** Visitors who wait for a person, the longest first, whatever the filter. */
  waiting: Row[];
}

export const EMPTY_INBOX: Inbox = { filter: ANY, rows: [], loading: true, more: false, loadingMore: false, error: null, waiting: [] };

/** Reads a page of the list after `before`, a cursor of the page before it. */
export type ReadPage = (filter: Filter, before: string | null, limit: number) => Promise<ConversationPage>;

export interface InboxStore {
  readonly view: Source<Inbox>;
  receive(frame: InboxPage | InboxUpdated): void;
  /** Another filter: what it shows is read. */
  show(filter: Filter): void;
  /** The next older page. */
  next(): void;
  /** Reads anew. */
  reload(): void;
  /** As it is known, shown or not. */
  row(id: string): Row | undefined;
}

const PAGE = 50;
/** Rows of a reading anew, and how many such pages at most: whoever had scrolled further begins again from the top. */
const REREAD = 100;
const REREADS = 5;
/** Two instances may tell of changes in another order than they were made in: so far back (ms) is looked again. */
const SLACK = 60_000;
/** What only the list's route knows of new rows is asked for after this time (ms), for all of them at once. */
const DETAILS = 1_500;

/** `waits` is told of each visitor who begins to wait for a person while we listen, or did so while the link was lost. */
export function createInboxStore(held: Held<Inbox>, read: ReadPage, waits: (row: Row) => void = () => undefined): InboxStore {
  const known = new Map<string, Row>();
  // Of the rows that are known, those of this filter's list; each may have ceased to fit since.
  let members = new Set<string>();
  // Those that came in since a reading began.
  let fresh = new Set<string>();
  let cursor: string | null = null;
  let round = 0; // which list: what is read for an earlier one is nobody's
  let newest = ""; // the newest activity known
  let whole = true; // a reading anew that was begun has come to its end
  let filling: ReturnType<typeof setTimeout> | undefined;

  const get = () => held.get();
  const change = (next: Partial<Inbox>) => held.set({ ...get(), ...next });

  /** Takes rows as they were told; gives those that changed. */
  function learn(rows: Row[]): Set<string> {
    const changed = new Set<string>();
    const back = lookBack();
    for (const told of rows) {
      const id = told.conversation_id;
      const old = known.get(id);
      const row = merge(old, told);
      if (row === old) continue;
      known.set(id, row);
      changed.add(id);
      const { waiting_since } = row;
      if (back && waiting_since && waiting_since !== old?.waiting_since && moment(waiting_since) > back) waits(row);
      if (moment(row.last_activity_at) > newest) newest = moment(row.last_activity_at);
    }
    return changed;
  }

  /** What is older than that was told, if it happened while we listened; empty while nothing is known. */
  function lookBack(): string {
    return newest && moment(new Date(Date.parse(newest + "Z") - SLACK).toISOString());
  }

  const isShown = (row: Row): boolean => members.has(row.conversation_id) && fits(row, get().filter);

  /** Shows what changed. */
  function draw(changed: Set<string>): void {
    if (!changed.size) return;
    const { rows, waiting } = get();
    const moved = new Map([...changed].map((id) => [id, isShown(known.get(id)!) ? known.get(id)! : null] as const));
    change({ rows: place(rows, moved), waiting: stillWaiting(waiting, changed) });
  }

  function stillWaiting(waiting: Row[], changed: Set<string>): Row[] {
    const rest = waiting.filter((row) => !changed.has(row.conversation_id));
    const now = [...changed].map((id) => known.get(id)!).filter((row) => row.waiting_since);
    if (!now.length && rest.length === waiting.length) return waiting;
    return [...rest, ...now].sort((a, b) => (moment(a.waiting_since!) < moment(b.waiting_since!) ? -1 : 1));
  }

  /** Rows from the socket: of a list whose filter is a matter of the row alone, new ones are its too. */
  function hear(rows: Row[]): void {
    const changed = learn(rows);
    if (isLive(get().filter)) {
      for (const id of changed) {
        if (!members.has(id)) fresh.add(id);
        members.add(id);
      }
      if ([...changed].some((id) => lacksDetails(known.get(id)!))) fill();
    }
    draw(changed);
  }

  /** Asks once for what only the list's route knows of the rows that just came in. */
  function fill(): void {
    filling ??= setTimeout(() => {
      filling = undefined;
      const mine = round;
      read(get().filter, null, PAGE).then(
        ({ rows }) => {
          if (mine === round) draw(learn(rows));
        },
        () => undefined, // a row without its details is whole enough; the next new one asks again
      );
    }, DETAILS);
  }

  function receive(frame: InboxPage | InboxUpdated): void {
    if (frame.type === "inbox.updated") return hear(frame.rows);
    const back = lookBack();
    const reaches = !frame.more || frame.rows.some((row) => moment(row.last_activity_at) <= back);
    const begun = !get().loading;
    hear(frame.rows);
    if (!begun) begin();
    else if (!whole || !reaches || !isLive(get().filter)) reload();
    void readWaiting();
  }

  /** Those who wait may be further down than any page that was read. */
  async function readWaiting(): Promise<void> {
    try {
      const { rows } = await read({ ...ANY, waiting: true }, null, REREAD);
      draw(learn(rows));
    } catch {
      // Who begins to wait from now on is told by the socket, and the next page asks again.
    }
  }

  function begin(): void {
    void reading(++round, async () => [await read(get().filter, null, PAGE)]);
  }

  function reload(): void {
    const mine = ++round;
    const shown = get().rows.length;
    void reading(mine, async () => {
      const pages: ConversationPage[] = [];
      let before: string | null = null;
      do {
        const page: ConversationPage = await read(get().filter, before, REREAD);
        if (mine !== round) return [];
        pages.push(page);
        before = page.before;
      } while (before !== null && pages.length < REREADS && pages.length * REREAD < shown);
      return pages;
    });
  }

  /** The list is what these pages say, and what came in meanwhile. */
  async function reading(mine: number, pages: () => Promise<ConversationPage[]>): Promise<void> {
    fresh = new Set();
    whole = false;
    change({ error: null });
    try {
      const all = await pages();
      const last = all[all.length - 1];
      if (mine !== round || !last) return;
      const rows = all.flatMap((page) => page.rows);
      members = new Set([...rows.map((row) => row.conversation_id), ...fresh]);
      cursor = last.before;
      whole = true;
      const changed = learn(rows);
      const list = new Map([...members].map((id) => [id, isShown(known.get(id)!) ? known.get(id)! : null] as const));
      change({ rows: place([], list), loading: false, loadingMore: false, more: cursor !== null });
      draw(changed);
    } catch (error) {
      if (mine === round) change({ error, loadingMore: false });
    }
  }

  return {
    view: held,
    receive,
    show(filter) {
      if (sameFilter(filter, get().filter) && !get().loading) return;
      members = new Set();
      cursor = null;
      change({ filter, rows: [], loading: true, more: false, loadingMore: false });
      begin();
    },
    next() {
      const before = cursor;
      if (before === null || get().loadingMore) return;
      const mine = round;
      change({ loadingMore: true, error: null });
      read(get().filter, before, PAGE).then(
        (page) => {
          if (mine !== round) return;
          cursor = page.before;
          const changed = learn(page.rows);
          for (const { conversation_id: id } of page.rows) {
            if (!members.has(id)) changed.add(id);
            members.add(id);
          }
          change({ loadingMore: false, more: cursor !== null });
          draw(changed);
        },
        (error: unknown) => {
          if (mine === round) change({ error, loadingMore: false });
        },
      );
    },
    reload,
    row: (id) => known.get(id),
  };
}
