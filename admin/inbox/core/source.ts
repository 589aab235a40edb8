/**
 * A value that tells of its changes, many changes told once: at the next frame of the display, or, where nobody looks, a little
 * later. Fifty answers that stream at once are thus one drawing, not fifty.
 */

export interface Source<T> {
  get(): T;
  /** Calls `told` after changes; what it gives ends that. */
  subscribe(told: () => void): () => void;
}

export interface Held<T> extends Source<T> {
  set(value: T): void;
}

/** Calls back once, soon. */
export type Later = (run: () => void) => void;

/** A hidden page has no frames; what its title says must still be true. */
const UNSEEN = 250;

export const atNextFrame: Later = (run) => {
  if (document.hidden) setTimeout(run, UNSEEN);
  else requestAnimationFrame(run);
};

/** Gives out values that tell together. */
export function createSources(later: Later): <T>(value: T) => Held<T> {
  const due = new Set<() => void>();

  const tell = () => {
    const all = [...due];
    due.clear();
    for (const told of all) told();
  };

  const owe = (told: () => void) => {
    if (!due.size) later(tell);
    due.add(told);
  };

  return <T>(value: T): Held<T> => {
    const listeners = new Set<() => void>();
    const told = () => {
      for (const listener of [...listeners]) listener();
    };
    return {
      get: () => value,
      set(next) {
        if (Object.is(next, value)) return;
        value = next;
        if (listeners.size) owe(told);
      },
      subscribe(listener) {
        // A function of its own, so that the same listener may be there twice.
        const each = () => listener();
        listeners.add(each);
        return () => void listeners.delete(each);
      },
    };
  };
}
