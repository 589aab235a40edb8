/** Comparing and merging the plain values of forms: objects field by field, everything else as a whole. */

type Plain = Record<string, unknown>;

const isPlain = (value: unknown): value is Plain =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The same JSON; the order of an object's fields does not count, a field that is undefined is not there. */
export function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((each, i) => same(each, b[i]));
  if (isPlain(a) && isPlain(b)) return names(a, b).every((name) => same(a[name], b[name]));
  return false;
}

const names = (...objects: Plain[]): string[] => [...new Set(objects.flatMap((each) => Object.keys(each)))];

/** What two people made of the same value: what only one changed is theirs, what both changed is mine. */
export function merge<T>(base: T, mine: T, theirs: T): T {
  if (isPlain(base) && isPlain(mine) && isPlain(theirs)) {
    const [b, m, t] = [base as Plain, mine as Plain, theirs as Plain];
    return Object.fromEntries(names(m, t).map((name) => [name, merge(b[name], m[name], t[name])])) as T;
  }
  return same(base, mine) ? theirs : mine;
}

export interface Difference {
  /** Such as `looks.color`. */
  path: string;
  mine: unknown;
  theirs: unknown;
  /** Both changed it, differently: mine would overwrite theirs. */
  clash: boolean;
}

/** What differs between mine and theirs, field by field. */
export function differences(base: unknown, mine: unknown, theirs: unknown, path = ""): Difference[] {
  if (same(mine, theirs)) return [];
  if (isPlain(mine) && isPlain(theirs)) {
    const b = isPlain(base) ? base : {};
    return names(mine, theirs).flatMap((name) =>
      differences(b[name], mine[name], theirs[name], path ? `${path}.${name}` : name),
    );
  }
  return [{ path, mine, theirs, clash: !same(base, mine) && !same(base, theirs) }];
}
