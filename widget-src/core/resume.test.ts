/**
 * A visitor whose link is cut anywhere, again and again, who is told things twice and comes back in any state, sees in
 * the end what somebody sees who comes for the first time.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation, numbers } from "./model.ts";
import type { ToVisitor } from "./protocol.gen.ts";
import { EMPTY, receive } from "./reducer.ts";
import { seen } from "./seen.ts";

const NOW = 1_700_000_000_000;

/** One life of a visitor's tab: the link is cut `cuts` times, anywhere. */
function live(seed: number, steps: number): void {
  const random = numbers(seed);
  const server = new Conversation(random);
  let state = EMPTY;
  let wire: ToVisitor[] | null = null;
  const told: ToVisitor[] = [];
  const take = (frame: ToVisitor) => {
    told.push(frame);
    state = receive(state, structuredClone(frame), NOW);
    // Whoever holds the state says hello again.
    if (state.gap) wire = server.hello(state.epoch, state.seq);
  };
  for (let step = 0; step < steps; step++) {
    switch (random(8)) {
      case 0:
        wire = null;
        break;
      case 1:
        wire ??= server.hello(state.epoch, state.seq);
        break;
      case 2:
        // Told once more, by a journal that was read while the hub delivered.
        if (wire && state.seq >= 0) {
          const again = told[random(told.length)]!;
          if ("seq" in again || again.type === "message.delta") wire.unshift(again);
        }
        break;
      case 3:
      case 4:
        for (let some = random(6); wire?.length && some >= 0; some--) take(wire.shift()!);
        break;
      default: {
        const happened = server.step();
        wire?.push(...structuredClone(happened));
      }
    }
  }
  wire ??= server.hello(state.epoch, state.seq);
  while (wire.length) take(wire.shift()!);
  const fresh = server.hello(null, -1).reduce((s, f) => receive(s, f, NOW), EMPTY);
  assert.deepEqual(seen(state), seen(fresh), `seed ${seed}`);
}

test("any cut, any duplicate, any order of reconnects ends as a fresh snapshot does", () => {
  for (let seed = 1; seed <= 3_000; seed++) live(seed, 30 + (seed % 120));
});
