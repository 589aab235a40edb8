/** What views read of the inbox's core. */

import { useEffect, useReducer } from "preact/hooks";
import { type Store, useStore } from "../core/store.ts";
import type { Source } from "./core/source.ts";

/** Drawn again only where what is picked changes. */
export function useSource<T>(source: Source<T>): T;
export function useSource<T, P>(source: Source<T>, pick: (value: T) => P): P;
export function useSource<T>(source: Source<T>, pick: (value: T) => unknown = (value) => value): unknown {
  return useStore(source as Store<T>, pick); // which reads only
}

/** Whether that time (ms since 1970) is still to come; drawn again when it has come. */
export function useAhead(at: number): boolean {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const ahead = at > Date.now();
  useEffect(() => {
    if (!ahead) return undefined;
    const timer = setTimeout(() => draw(0), at - Date.now() + 10);
    return () => clearTimeout(timer);
  }, [at, ahead]);
  return ahead;
}

/** Drawn again every so many milliseconds, where `on`. */
export function useTick(ms: number, on = true): void {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    if (!on) return undefined;
    const timer = setInterval(() => draw(0), ms);
    return () => clearInterval(timer);
  }, [ms, on]);
}

/** For `shouldComponentUpdate`: a long conversation costs nothing while its end streams. */
export function differs<P extends object>(a: P, b: P): boolean {
  const keys = Object.keys(b) as (keyof P)[];
  return keys.length !== Object.keys(a).length || keys.some((key) => a[key] !== b[key]);
}

