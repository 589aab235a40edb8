/** The inbox is up on every page: its number in the navigation and the title, its sound, whether the page is live. */

import { useEffect } from "preact/hooks";
import { onReturn } from "../core/status.ts";

/** At the latest after so many milliseconds, however busy the page is. */
const AT_LATEST = 3000;

/** Calls back once, when the page has nothing else to do; gives what prevents it. */
function whenIdle(run: () => void): () => void {
  if (!("requestIdleCallback" in globalThis)) {
    const timer = setTimeout(run, 500); // Safari
    return () => clearTimeout(timer);
  }
  const asked = requestIdleCallback(run, { timeout: AT_LATEST });
  return () => cancelIdleCallback(asked);
}

async function start(): Promise<void> {
  try {
    (await import("../inbox/live.ts")).startDesk();
  } catch (error) {
    console.warn("the inbox did not load", error);
    const again = onReturn(() => {
      again();
      void start();
    });
  }
}

/** Starts it, once the page that was asked for is there. Somebody is signed in, and may see conversations. */
export function useDesk(may: boolean): void {
  useEffect(() => (may ? whenIdle(() => void start()) : undefined), [may]);
}
