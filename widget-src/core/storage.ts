/** What one browser keeps of a conversation between page loads, under the client's public key. */

import type { SessionProof } from "./protocol.gen.ts";

export interface Pending {
  cid: string;
  text: string;
  at: number;
}

export interface Kept {
  session: SessionProof | null;
  /** Sent, and not yet known to be stored: sent again with the same cid after a reload. */
  pending: Pending[];
  unread: number;
  /** Id of the newest message that has been on screen. */
  seen: string | null;
  /** An answer was still to come when the page went away. */
  awaiting: boolean;
  /** Until when (ms since 1970) WebSockets are taken as blocked by this network. */
  blocked: number;
}

export interface Shelf {
  read(): Kept;
  write(change: Partial<Kept>): void;
}

/** The two calls of `Storage` that are used; a page's own may throw on any of them. */
export type Area = Pick<Storage, "getItem" | "setItem">;

const EMPTY: Kept = { session: null, pending: [], unread: 0, seen: null, awaiting: false, blocked: 0 };

/** What was stored, checked: the host page and older versions write here too. */
export function parseKept(text: string | null): Kept {
  try {
    const kept: Kept = { ...EMPTY, ...(JSON.parse(text || "{}") as Partial<Kept>) };
    const { session } = kept;
    if (typeof session?.id !== "string" || typeof session.token !== "string") kept.session = null;
    kept.pending = kept.pending.filter((p) => typeof p.cid === "string" && typeof p.text === "string");
    return kept;
  } catch {
    return EMPTY; // not ours, or cut short: begin anew
  }
}

/** Reads each time anew, because other tabs write too. Where storage is blocked or full it lasts as long as the page. */
export function openShelf(key: string, area: () => Area): Shelf {
  const name = "frontdesk:" + key;
  let memory: string | null = null;
  const read = (): Kept => {
    try {
      return parseKept(memory ?? area().getItem(name));
    } catch {
      return EMPTY;
    }
  };
  return {
    read,
    write(change) {
      const text = JSON.stringify({ ...read(), ...change });
      try {
        area().setItem(name, text);
        memory = null;
      } catch {
        memory = text;
      }
    },
  };
}
