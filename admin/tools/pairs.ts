/** Objects as lists of pairs, which is how people write them: an unfinished pair has an empty name, and is no field yet. */

export type Pair<V extends string> = readonly [name: string, value: V];

export const pairsOf = <V extends string>(record: Readonly<Record<string, V>>): Pair<V>[] => Object.entries(record);

/** The later of two equal names counts. */
export const recordOf = <V extends string>(pairs: readonly Pair<V>[]): Record<string, V> =>
  Object.fromEntries(pairs.map(([name, value]) => [name.trim(), value] as const).filter(([name]) => name !== ""));
