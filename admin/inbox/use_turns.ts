/** What the AI did in a conversation, turn by turn, as it is recorded. */

import { useEffect, useState } from "preact/hooks";
import type { TurnInfo, TurnInfoPage } from "../core/api.gen.ts";
import { type ApiError, asApiError, get } from "../core/api.ts";

export type Turns = Readonly<Record<string, TurnInfo>>;

interface Loaded {
  turns: Turns;
  /** Where older ones end; null: there are none; undefined: nothing is loaded. */
  before: string | null | undefined;
  error: ApiError | null;
}

/** After a turn has begun or ended it is read after so many milliseconds: the end of one is often the beginning of the next. */
const REST = 150;

/** The same object for a turn that has not changed: what shows it is not drawn again. */
function learn(known: Turns, rows: TurnInfo[]): Turns {
  const next = { ...known };
  for (const turn of rows) {
    const old = next[turn.turn_id];
    if (!old || JSON.stringify(old) !== JSON.stringify(turn)) next[turn.turn_id] = turn;
  }
  return next;
}

const oldest = (turns: Turns): number => Math.min(...Object.values(turns).map((turn) => Date.parse(turn.queued_at)));

/** Read anew when `mark` changes, and further back while the first message that is shown (`from`, ms) is older. */
export function useTurns(id: string, mark: string, from: number): { turns: Turns; error: ApiError | null } {
  const [{ turns, before, error }, set] = useState<Loaded>({ turns: {}, before: undefined, error: null });

  const load = async (cursor: string | null | undefined, alive: () => boolean) => {
    try {
      const page = await get<TurnInfoPage>(`/conversations/${id}/turns`, { before: cursor });
      if (!alive()) return;
      // The newest page says where the others begin only the first time.
      set((old) => ({ turns: learn(old.turns, page.rows), before: cursor || old.before === undefined ? page.before : old.before, error: null }));
    } catch (problem) {
      const told = asApiError(problem);
      if (alive()) set((old) => ({ ...old, error: told }));
    }
  };

  useEffect(() => {
    let alive = true;
    const timer = setTimeout(() => void load(null, () => alive), REST);
    return () => {
      alive = false;
      clearTimeout(timer);
    };
  }, [id, mark]);

  const further = before && from < oldest(turns) ? before : null;
  useEffect(() => {
    let alive = true;
    if (further) void load(further, () => alive);
    return () => {
      alive = false;
    };
  }, [id, further]);

  return { turns, error };
}
