/** What the list shows. The address says it, so that it survives a reload and can be sent to a colleague. */

import type { ComponentChildren } from "preact";
import type { ClientPage } from "../core/api.gen.ts";
import type { Query } from "../core/api.ts";
import { SearchInput, Select } from "../ui/choice.tsx";
import type { Filter } from "./core/rows.ts";
import { WORDS } from "./words.ts";

export type State = keyof typeof WORDS.states;

const OWNERS: readonly string[] = ["ai", "queued", "human", "closed"] satisfies Filter["owner"][];

/** What the address asks for; what makes no sense there asks for nothing. */
export function readFilter(query: URLSearchParams): Filter {
  const state = query.get("state");
  const rating = query.get("rating");
  return {
    client_id: Number(query.get("client")) || null,
    owner: OWNERS.includes(state ?? "") ? (state as Filter["owner"]) : null,
    rating: rating === "up" || rating === "down" ? rating : null,
    waiting: state === "waiting" ? true : null,
    q: query.get("q") ?? "",
  };
}

const stateOf = ({ owner, waiting }: Filter): State => (waiting ? "waiting" : (owner ?? "any"));

export const isFiltered = ({ client_id, owner, rating, waiting, q }: Filter): boolean => !!(client_id || owner || rating || waiting || q);

export const NO_FILTER: Query = { state: null, client: null, rating: null, q: null };

interface FiltersProps {
  filter: Filter;
  /** Null for an operator of one client alone. */
  clients: ClientPage["rows"] | null;
  onChange(patch: Query): void;
  /** At the end of the first line. */
  beside: ComponentChildren;
}

export function Filters({ filter, clients, onChange, beside }: FiltersProps) {
  const states = Object.entries(WORDS.states) as [State, string][];
  return (
    <div class="inbox-filters">
      <div class="inbox-find">
        <SearchInput label={WORDS.search} value={filter.q} onChange={(q) => onChange({ q })} fd="search" />
        {beside}
      </div>
      <div class="inbox-choices">
        <Select
          label={WORDS.state}
          hideLabel
          value={stateOf(filter)}
          options={states.map(([value, label]) => ({ value, label }))}
          onChange={(state) => onChange({ state: state === "any" ? null : state })}
          fd="filter-state"
        />
        {clients && clients.length > 1 && (
          <Select
            label={WORDS.client}
            hideLabel
            value={filter.client_id}
            options={[{ value: null, label: WORDS.anyClient }, ...clients.map(({ id, name }) => ({ value: id, label: name }))]}
            onChange={(client) => onChange({ client })}
            fd="filter-client"
          />
        )}
        <Select
          label={WORDS.rating}
          hideLabel
          value={filter.rating ?? "any"}
          options={(["any", "up", "down"] as const).map((value) => ({ value, label: WORDS.ratings[value] }))}
          onChange={(rating) => onChange({ rating: rating === "any" ? null : rating })}
          fd="filter-rating"
        />
      </div>
    </div>
  );
}
