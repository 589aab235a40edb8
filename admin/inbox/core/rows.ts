/** Lines of the inbox: which is newer, which comes first, which a filter shows. Pure. */

import type { InboxRow } from "../../../widget-src/core/protocol.gen.ts";
import type { ConversationRow } from "../../core/api.gen.ts";

/** What the socket tells of a conversation, and what only the list's own route knows, once it has been asked. */
export type Row = InboxRow & Partial<Omit<ConversationRow, keyof InboxRow>>;

/** `null` and "" stand for any. */
export interface Filter {
  client_id: number | null;
  owner: InboxRow["owner"] | null;
  rating: "up" | "down" | null;
  waiting: boolean | null;
  q: string;
}

export const ANY: Filter = { client_id: null, owner: null, rating: null, waiting: null, q: "" };

export const sameFilter = (a: Filter, b: Filter): boolean => (Object.keys(ANY) as (keyof Filter)[]).every((key) => a[key] === b[key]);

/** The server's times end with Z and have up to six digits behind the point, none at a full second: as texts that compare. */
export function moment(at: string): string {
  const [seconds, rest = ""] = at.replace(/(Z|\+00:00)$/, "").split(".");
  return `${seconds}.${rest.padEnd(6, "0")}`;
}

/** Most recently active first. */
export function order(a: Row, b: Row): number {
  const [left, right] = [moment(a.last_activity_at), moment(b.last_activity_at)];
  if (left !== right) return left < right ? 1 : -1;
  return a.conversation_id < b.conversation_id ? 1 : a.conversation_id > b.conversation_id ? -1 : 0;
}

/** Whether only the list's own route knows of it. */
export const lacksDetails = (row: Row): boolean => row.channel === undefined;

/** A row as it is after another telling of it, the same object where that says nothing new. */
export function merge(known: Row | undefined, told: Row): Row {
  if (!known) return told;
  if (told.seq < known.seq || (told.seq === known.seq && lacksDetails(told))) {
    // Older, or the same: it may still know what was not told yet.
    return lacksDetails(known) && !lacksDetails(told) ? { ...told, ...core(known) } : known;
  }
  // An update says nothing of a preview that stays as it was.
  return { ...known, ...told, preview: told.preview ?? known.preview, operator: told.operator ?? null, waiting_since: told.waiting_since ?? null };
}

/** What the socket tells. */
function core({ conversation_id, client_id, seq, owner, last_activity_at, preview, operator, waiting_since }: Row): InboxRow {
  return { conversation_id, client_id, seq, owner, last_activity_at, preview, operator, waiting_since };
}

/** Whether the row itself says if a filter shows it: words and ratings only the server can look up. */
export const isLive = ({ q, rating }: Filter): boolean => !q && rating === null;

export function fits(row: Row, { client_id, owner, waiting }: Filter): boolean {
  return (
    (client_id === null || row.client_id === client_id) &&
    (owner === null || row.owner === owner) &&
    (waiting === null || !!row.waiting_since === waiting)
  );
}

/** Puts changed rows into a sorted list: those that are there already move, the others come in. */
export function place(rows: Row[], changed: Map<string, Row | null>): Row[] {
  const coming = [...changed.values()].filter((row) => row !== null).sort(order);
  const next: Row[] = [];
  let i = 0;
  for (const row of rows) {
    if (changed.has(row.conversation_id)) continue;
    while (i < coming.length && order(coming[i]!, row) < 0) next.push(coming[i++]!);
    next.push(row);
  }
  return next.concat(coming.slice(i));
}
