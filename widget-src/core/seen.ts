/** What of a state two visitors of one conversation must see the same; for tests. */

import type { State } from "./reducer.ts";

/** A page keeps the steps of answers that it saw being made, and notices of who answers; those are left out. */
export function seen({ seq, epoch, gap, messages, live, owner, waiting }: State) {
  return {
    seq,
    epoch,
    gap,
    owner,
    // While an answer comes nobody sees that the next one waits.
    waiting: waiting && !live,
    messages: messages.filter((m) => !m.owner).map(({ id, role, text, rating, stopped }) => ({ id, role, text, rating, stopped: !!stopped })),
    live: live && {
      turn_id: live.turn_id,
      gen: live.gen,
      n: live.n,
      text: live.text,
      tools: (live.tools ?? []).map(({ call_id, label, state, text }) => ({ call_id, label, state, text })),
    },
  };
}
