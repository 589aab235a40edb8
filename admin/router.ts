/** Every page has an address below `/admin/`. `Link` and `navigate` change it without loading the console anew. */

import { type ComponentChildren, h } from "preact";
import type { Query } from "./core/api.ts";
import { withQuery } from "./core/api.ts";
import { createStore, type Store, useStore } from "./core/store.ts";

export const BASE = "/admin";

type Param<S extends string> = S extends `:${infer Name}?`
  ? { [K in Name]?: string }
  : S extends `:${infer Name}`
    ? { [K in Name]: string }
    : unknown;

/** What a pattern such as `/clients/:client_id/:tab?` finds in a path. */
export type Params<P extends string> = P extends `${infer Head}/${infer Rest}` ? Param<Head> & Params<Rest> : Param<P>;

/** What a page of this pattern is given. */
export interface PageProps<P extends string> {
  params: Params<P>;
}

export type Found = Record<string, string | undefined>;

/** The parameters, or null where the path is another one's. */
export function match(pattern: string, path: string): Found | null {
  const wanted = pattern.split("/").filter(Boolean);
  const given = path.split("/").filter(Boolean);
  if (given.length > wanted.length) return null;
  const found: Found = {};
  for (const [i, part] of wanted.entries()) {
    const name = /^:(\w+)(\??)$/.exec(part);
    const value = given[i];
    if (value === undefined) {
      if (!name?.[2]) return null;
    } else if (name) {
      const text = decoded(value);
      if (text === null) return null;
      found[name[1]!] = text;
    } else if (part !== value) return null;
  }
  return found;
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null; // half a percent sign: an address that nobody made
  }
}

export interface Place {
  path: string;
  query: URLSearchParams;
}

/** Asked before the page is left; false stays. */
export type Guard = () => boolean | Promise<boolean>;

export interface Router {
  place: Store<Place>;
  /** How often another path was gone to since the console was loaded. */
  moves(): number;
  navigate(to: string, options?: { replace?: boolean }): Promise<void>;
  /** Gives the function that lifts it. */
  guard(ask: Guard): () => void;
  href(to: string): string;
}

/** The part of a window that is used. */
export interface Around {
  location: Pick<Location, "pathname" | "search" | "hash">;
  history: Pick<History, "pushState" | "replaceState" | "go" | "state">;
  addEventListener(type: "popstate", listener: () => void): void;
}

export function createRouter(around: Around): Router {
  const read = (): Place => ({
    path: around.location.pathname.slice(BASE.length).replace(/\/+$/, "") || "/",
    query: new URLSearchParams(around.location.search),
  });
  const place = createStore(read());
  const guards = new Set<Guard>();
  let moves = 0;
  // Places in the history are numbered, so that one that was left against our will can be gone back to.
  const numbered = (): number => (around.history.state as { at?: number } | null)?.at ?? 0;
  let at = numbered();
  /** Called when the move that we take back is taken back. */
  let undone: (() => void) | null = null;

  const href = (to: string): string => BASE + to;

  function show(): void {
    const next = read();
    if (next.path !== place.get().path) moves += 1;
    place.set(next);
  }

  async function leaves(): Promise<boolean> {
    for (const ask of [...guards]) if (!(await ask())) return false;
    return true;
  }

  async function popped(): Promise<void> {
    const to = numbered();
    if (undone) {
      at = to;
      undone();
      undone = null;
      return;
    }
    const back = at - to;
    const path = read().path;
    if (guards.size && back && path !== place.get().path) {
      const returned = new Promise<void>((done) => (undone = done));
      around.history.go(back);
      await returned;
      if (!(await leaves())) return;
      guards.clear();
      around.history.go(-back);
      return;
    }
    at = to;
    show();
  }

  around.addEventListener("popstate", () => void popped());

  return {
    place,
    moves: () => moves,
    href,
    async navigate(to, { replace = false } = {}) {
      const other = to.split(/[?#]/)[0] !== place.get().path;
      if (other && guards.size && !(await leaves())) return;
      if (replace) around.history.replaceState({ at }, "", href(to));
      else around.history.pushState({ at: (at += 1) }, "", href(to));
      show();
    },
    guard(ask) {
      guards.add(ask);
      return () => guards.delete(ask);
    },
  };
}

/** Of this window; where there is none, in a test, of nothing. */
const nowhere: Around = {
  location: { pathname: BASE, search: "", hash: "" },
  history: { pushState: () => undefined, replaceState: () => undefined, go: () => undefined, state: null },
  addEventListener: () => undefined,
};

export const router: Router = createRouter(typeof window === "undefined" ? nowhere : window);
export const { navigate } = router;

export const useRoute = (): Place => useStore(router.place);

/** What stands behind the `?`: filters, so that they survive a reload and can be sent to a colleague. */
export function useQuery(): [URLSearchParams, (patch: Query, options?: { replace?: boolean }) => void] {
  const { path, query } = useRoute();
  const set = (patch: Query, { replace = true }: { replace?: boolean } = {}) => {
    const now = router.place.get().query;
    void navigate(withQuery(path, { ...Object.fromEntries(now), ...patch }), { replace });
  };
  return [query, set];
}

export interface LinkProps {
  to: string;
  class?: string;
  title?: string;
  /** The page that is shown. */
  current?: boolean;
  label?: string;
  fd?: string;
  role?: "menuitem";
  children?: ComponentChildren;
  onClick?: () => void;
}

/** A link to one of our pages. Another tab, another window and "copy address" work as everywhere. */
export function Link({ to, current, label, fd, children, onClick, ...rest }: LinkProps) {
  const click = (event: MouseEvent) => {
    onClick?.();
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    void navigate(to);
  };
  const current_ = current ? ("page" as const) : undefined;
  const props = { ...rest, href: router.href(to), onClick: click, "aria-current": current_, "aria-label": label, "data-fd": fd };
  return h("a", props, children);
}
