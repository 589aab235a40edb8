/** How long one waits after too many attempts, counted down. */

import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "../core/api.ts";

/** 1:05, 0:09. */
export function clock(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Seconds that are left of an error's wait; 0 where there is none. */
export function useWait(error: ApiError | null): number {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    const until = Date.now() + (error?.retry_after_ms ?? 0);
    const look = () => setLeft(Math.max(0, Math.ceil((until - Date.now()) / 1000)));
    look();
    if (!error?.retry_after_ms) return undefined;
    const timer = setInterval(look, 250);
    return () => clearInterval(timer);
  }, [error]);
  return left;
}
