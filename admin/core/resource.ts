/** What pages read: one value, a list by cursor, something that is done, something that is asked again and again. */

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError, get, withQuery } from "./api.ts";
import { onReturn } from "./status.ts";

export interface Resource<T> {
  value: T | undefined;
  error: ApiError | null;
  /** Also while a value is asked for anew that is still shown. */
  loading: boolean;
  reload(): Promise<void>;
  /** What a page knows already, for instance the answer to its own change. */
  set(next: T | ((old: T) => T)): void;
}

interface State<T> {
  path: string | null;
  value: T | undefined;
  error: ApiError | null;
  loading: boolean;
}

const fresh = <T>(path: string | null): State<T> => ({ path, value: undefined, error: null, loading: path !== null });

/** Asks `GET path`; null asks for nothing. After an error it asks again by itself when the network is back. */
export function useResource<T>(path: string | null): Resource<T> {
  const [kept, setState] = useState<State<T>>(() => fresh(path));
  const asked = useRef<AbortController | null>(null);
  // What belongs to another path is never shown, not even in the one drawing before the effect.
  const state = kept.path === path ? kept : fresh<T>(path);

  const reload = useCallback(async () => {
    asked.current?.abort();
    if (path === null) return setState(fresh(path));
    const mine = (asked.current = new AbortController());
    setState((old) => (old.path === path ? { ...old, loading: true } : fresh(path)));
    try {
      const value = await get<T>(path, {}, mine.signal);
      if (!mine.signal.aborted) setState({ path, value, error: null, loading: false });
    } catch (error) {
      const told = asApiError(error);
      if (!mine.signal.aborted) setState((old) => ({ ...old, error: told, loading: false }));
    }
  }, [path]);

  useEffect(() => {
    void reload();
    return () => asked.current?.abort();
  }, [reload]);
  useReturn(state.error, reload);

  const set = useCallback(
    (next: T | ((old: T) => T)) =>
      setState((old) => {
        if (typeof next !== "function") return { ...old, path, value: next, error: null };
        return old.value === undefined ? old : { ...old, value: (next as (old: T) => T)(old.value) };
      }),
    [path],
  );
  return { value: state.value, error: state.error, loading: state.loading, reload, set };
}

/** The answer of a list. `before` is where the next page begins; null: there is none. */
export interface PageOf<Row> {
  rows: Row[];
  before: string | number | null;
}

export interface Pages<Row> {
  rows: Row[];
  loading: boolean;
  error: ApiError | null;
  /** Whether there are rows after these. */
  more: boolean;
  next(): Promise<void>;
  /** Asks for the first page anew; the others are forgotten. */
  reload(): Promise<void>;
  set(change: (rows: Row[]) => Row[]): void;
}

interface Shown<Row> extends PageOf<Row> {
  path: string | null;
  loading: boolean;
  error: ApiError | null;
}

const none = <Row>(path: string | null): Shown<Row> => ({ path, rows: [], before: null, loading: path !== null, error: null });

/** A list of `GET path`, page by page. */
export function usePages<Row>(path: string | null): Pages<Row> {
  const [kept, setState] = useState<Shown<Row>>(() => none(path));
  const asked = useRef<AbortController | null>(null);
  const state = kept.path === path ? kept : none<Row>(path);

  const load = useCallback(
    async (before: string | number | null) => {
      asked.current?.abort();
      if (path === null) return setState(none(path));
      const mine = (asked.current = new AbortController());
      setState((old) => ({ ...(old.path === path ? old : none<Row>(path)), loading: true }));
      try {
        const page = await get<PageOf<Row>>(withQuery(path, { before }), {}, mine.signal);
        if (mine.signal.aborted) return;
        const earlier = (rows: Row[]) => (before === null ? page.rows : [...rows, ...page.rows]);
        setState((old) => ({ path, rows: earlier(old.rows), before: page.before, loading: false, error: null }));
      } catch (error) {
        const told = asApiError(error);
        if (!mine.signal.aborted) setState((old) => ({ ...old, loading: false, error: told }));
      }
    },
    [path],
  );

  useEffect(() => {
    void load(null);
    return () => asked.current?.abort();
  }, [load]);

  const { rows, before, loading, error } = state;
  const reload = useCallback(() => load(null), [load]);
  const next = useCallback(async () => {
    if (before !== null && !loading) await load(before);
  }, [load, before, loading]);
  const set = useCallback((change: (rows: Row[]) => Row[]) => setState((old) => ({ ...old, rows: change(old.rows) })), []);
  useReturn(error, rows.length > 0 ? next : reload);
  return { rows, loading, error, more: before !== null, next, reload, set };
}

function useReturn(error: ApiError | null, again: () => Promise<void>): void {
  const failed = error !== null && (error.status === 0 || error.status === 401);
  useEffect(() => (failed ? onReturn(() => void again()) : undefined), [failed, again]);
}

export interface Action<A extends unknown[], R> {
  /** Undefined after an error, which is in `error` then; and while the last one still runs. */
  run(...given: A): Promise<R | undefined>;
  busy: boolean;
  error: ApiError | null;
  clear(): void;
}

/** Something that a button does. */
export function useAction<A extends unknown[], R>(run: (...given: A) => Promise<R>): Action<A, R> {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const running = useRef(false);
  const todays = useLatest(run);
  const start = useCallback(async (...given: A) => {
    if (running.current) return undefined;
    running.current = true;
    setBusy(true);
    setError(null);
    try {
      return await todays.current(...given);
    } catch (problem) {
      setError(asApiError(problem));
      return undefined;
    } finally {
      running.current = false;
      setBusy(false);
    }
  }, []);
  const clear = useCallback(() => setError(null), []);
  return { run: start, busy, error, clear };
}

/** Calls `run` every so many milliseconds while the page is visible, and at once when it is again. */
export function useEvery(ms: number, run: () => void): void {
  const todays = useLatest(run);
  useEffect(() => {
    const tick = () => {
      if (!document.hidden) todays.current();
    };
    const timer = setInterval(tick, ms);
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [ms]);
}

/** Always what was given last, for effects that outlive a drawing. */
export function useLatest<T>(value: T): { current: T } {
  const latest = useRef(value);
  useLayoutEffect(() => {
    latest.current = value;
  });
  return latest;
}
