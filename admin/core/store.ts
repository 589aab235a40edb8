/** A value that components and plain functions share, and that tells when it changes. */

import { useLayoutEffect, useReducer, useRef } from "preact/hooks";

export interface Store<T> {
  get(): T;
  /** Tells nobody when nothing changes (`Object.is`). */
  set(next: T | ((old: T) => T)): void;
  /** Gives the function that ends it. */
  subscribe(listener: () => void): () => void;
}

export function createStore<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      const now = typeof next === "function" ? (next as (old: T) => T)(value) : next;
      if (Object.is(now, value)) return;
      value = now;
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

const all = (value: unknown): unknown => value;

/** The store's value, or the part of it that is picked: drawn again only where that changes (`Object.is`). */
export function useStore<T>(store: Store<T>): T;
export function useStore<T, P>(store: Store<T>, pick: (value: T) => P): P;
export function useStore<T>(store: Store<T>, pick: (value: T) => unknown = all): unknown {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const value = pick(store.get());
  const shown = useRef({ pick, value });
  shown.current = { pick, value };
  useLayoutEffect(() => {
    const look = () => {
      if (!Object.is(shown.current.pick(store.get()), shown.current.value)) draw(0);
    };
    look(); // it may have changed since it was drawn
    return store.subscribe(look);
  }, [store]);
  return value;
}
