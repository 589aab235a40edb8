/** A sound and a notification for a visitor who waits: each browser says whether it wants them. No view, no clock. */

import type { Area } from "../../../widget-src/core/storage.ts";
import type { Row } from "./rows.ts";
import type { Held, Source } from "./source.ts";

export interface Wishes {
  sound: boolean;
  notify: boolean;
}

export interface AlertOptions {
  area(): Area;
  beep(): void;
  notify(row: Row): void;
  /** Whether the browser lets us show notifications, asked from the person where it was not yet. */
  permit(): Promise<boolean>;
  /** Somebody looks at this conversation now. */
  looksAt(id: string): boolean;
}

export interface Alerts {
  readonly wishes: Source<Wishes>;
  /** Turns the sound on or off; on, it is heard once. */
  sound(on: boolean): void;
  /** False where the browser does not let us. */
  notify(on: boolean): Promise<boolean>;
  waits(row: Row): void;
}

const KEY = "frontdesk:alerts";
export const SILENT: Wishes = { sound: false, notify: false };

function kept(area: () => Area): Wishes {
  try {
    const { sound, notify } = JSON.parse(area().getItem(KEY) || "{}") as Partial<Wishes>;
    return { sound: sound === true, notify: notify === true };
  } catch {
    return SILENT; // no storage, or somebody else's text
  }
}

export function createAlerts(held: Held<Wishes>, { area, beep, notify, permit, looksAt }: AlertOptions): Alerts {
  held.set(kept(area));

  function wish(change: Partial<Wishes>): void {
    held.set({ ...held.get(), ...change });
    try {
      area().setItem(KEY, JSON.stringify(held.get()));
    } catch {
      // It is wished as long as the page lives.
    }
  }

  return {
    wishes: held,
    sound(on) {
      wish({ sound: on });
      if (on) beep(); // a browser lets a page be heard after a click only: this is the click
    },
    async notify(on) {
      const may = !on || (await permit());
      wish({ notify: on && may });
      return may;
    },
    waits(row) {
      if (looksAt(row.conversation_id)) return;
      if (held.get().sound) beep();
      if (held.get().notify) notify(row);
    },
  };
}
