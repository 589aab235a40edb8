/** A client that was just added, with its API key, which nobody is told again: from the form to its first page. */

import type { ClientCreated } from "../core/api.gen.ts";
import { createStore } from "../core/store.ts";

export const created = createStore<ClientCreated | null>(null);
