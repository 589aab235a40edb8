/** Everything said, in order, with what stands together. Pure. */

import type { Item, State } from "../core/reducer.ts";
import type { Line } from "./message.tsx";

/** A pause this long (ms) begins a new group. */
const PAUSE = 300_000;

const made = new WeakMap<object, Item>();

/** The same item for the same source, so that what shows it knows it has not changed. */
function once(source: object, make: () => Omit<Item, "created_at">, at: string | number): Item {
  if (!made.has(source)) made.set(source, { ...make(), created_at: new Date(at).toISOString() });
  return made.get(source)!;
}

export function isNote(item: Item): boolean {
  return item.role === "system";
}

function side({ role, author }: Item): string {
  return role + (author?.name ?? "");
}

function joined(a: Line | undefined, b: Line | undefined): boolean {
  return !!a && !!b && side(a.item) === side(b.item) && Date.parse(b.item.created_at) - Date.parse(a.item.created_at) < PAUSE;
}

/** `settings` is whose welcome it is: the greeting changes with them. */
export function lines(state: State, settings: { welcome_message?: string }, began: number): Line[] {
  const { messages, outbox, live } = state;
  const { welcome_message: welcome } = settings;
  const all: Line[] = messages.map((item) => ({ key: item.cid ?? item.id, item }));
  for (const draft of outbox) {
    const { cid, text, at } = draft;
    all.push({ key: cid, item: once(draft, () => ({ id: cid, role: "user", text }), at), draft });
  }
  if (live) {
    const { message_id: id, text, tools } = live;
    const item = once(live, () => ({ id, role: "assistant", text, tools }), Date.now());
    all.push({ key: id, item, streaming: true });
  }
  if (welcome) {
    const item = once(settings, () => ({ id: "welcome", role: "assistant", text: welcome }), all[0]?.item.created_at ?? began);
    all.unshift({ key: "welcome", item, local: true });
  }
  all.forEach((line, i) => {
    line.first = !joined(all[i - 1], line);
    line.last = !joined(line, all[i + 1]);
  });
  return all;
}
