/** `window.frontdesk`: one function, usable before the script has loaded through the queue its stub fills. */

export const EVENTS = ["ready", "open", "close", "message", "unread", "handoff", "error"] as const;

export type EventName = (typeof EVENTS)[number];
export type Listener = (detail: unknown) => void;
export type Calls = Record<string, (...args: unknown[]) => void>;

export interface Frontdesk {
  (...call: unknown[]): void;
  q?: unknown;
}

export function warn(text: string, ...more: unknown[]): void {
  console.warn("[frontdesk] " + text, ...more);
}

export interface Api {
  call: Frontdesk;
  emit(event: EventName, detail?: unknown): void;
  /** From now on calls are carried out, those that waited first. */
  begin(calls: Calls): void;
}

/** Takes the place of the stub. Listeners count at once, everything else waits for `begin`. */
export function createApi(stub?: Frontdesk): Api {
  let listeners: [event: EventName, fn: Listener][] = [];
  let waiting: unknown[][] | null = [];
  let calls = new Map<unknown, Calls[string]>();
  let ready: unknown[] | null = null;

  const guard = (what: unknown, fn: (...args: unknown[]) => void, args: unknown[]) => {
    try {
      fn(...args);
    } catch (error) {
      warn(`"${String(what)}" failed`, error); // the host page's bug must not stop the chat, nor ours the page
    }
  };

  const call: Frontdesk = (...args) => {
    const [name, ...rest] = args;
    const [event, fn] = rest as [EventName, Listener | undefined];
    const known = calls.get(name);
    if (name === "off") listeners = listeners.filter(([e, f]) => e !== event || (fn && f !== fn));
    else if (name === "on") {
      if (!EVENTS.includes(event) || typeof fn !== "function") return warn(`"on" wants ${EVENTS.join()} and a function`);
      listeners.push([event, fn]);
      if (event === "ready" && ready) guard(event, fn, ready);
    } else if (waiting) waiting.push(args);
    else if (known) guard(name, known, rest);
    else warn(`no call "${String(name)}", but ${["on", "off", ...calls.keys()].join()}`);
  };

  const queued = stub?.q;
  call.q = { push: (args: ArrayLike<unknown>) => call(...Array.from(args)) };
  if (stub) stub.q = call.q; // code that kept the stub in a variable goes on pushing to it
  if (Array.isArray(queued)) for (const args of queued as ArrayLike<unknown>[]) call(...Array.from(args));

  return {
    call,
    emit(event, detail) {
      if (event === "ready") ready = [detail];
      for (const [e, fn] of [...listeners]) if (e === event) guard(event, fn, [detail]);
    },
    begin(given) {
      calls = new Map(Object.entries(given));
      const held = waiting ?? [];
      waiting = null;
      for (const args of held) call(...args);
    },
  };
}
