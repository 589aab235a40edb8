/** Which days and whose use; both stand in the page's address. */

import type { UsageOfClient } from "../core/api.gen.ts";
import { useQuery } from "../router.ts";
import { Select } from "../ui/choice.tsx";
import { TextInput } from "../ui/field.tsx";
import type { Period, PeriodName } from "./period.ts";
import { words } from "./words.ts";

interface PickerProps {
  period: Period;
  client_id: string | null;
  /** Null: whoever asks serves one client only. */
  clients: UsageOfClient[] | null;
}

const PERIODS = (Object.keys(words.periods) as PeriodName[]).map((value) => ({ value, label: words.periods[value] }));

export function Picker({ period, client_id, clients }: PickerProps) {
  const [, set] = useQuery();
  const { name, from, to } = period;
  // Days of one's own begin with those that are shown.
  const choose = (next: PeriodName) => set(next === "custom" ? { period: next, from, to } : { period: next, from: null, to: null });
  return (
    <div class="usage-picker" role="group" aria-label={words.period}>
      <Select label={words.period} value={name} options={PERIODS} onChange={choose} fd="period" />
      {name === "custom" && (
        <>
          <TextInput type="date" label={words.from} value={from} onChange={(day) => set({ from: day })} fd="from" />
          <TextInput type="date" label={words.to} value={to} onChange={(day) => set({ to: day })} fd="to" />
        </>
      )}
      {clients && (
        <Select
          label={words.client}
          value={client_id ?? ""}
          options={optionsOf(clients, client_id)}
          onChange={(value) => set({ client: value })}
          fd="client"
        />
      )}
    </div>
  );
}

/** By name. The chosen one is there also while the list is not. */
function optionsOf(clients: UsageOfClient[], chosen: string | null): { value: string; label: string }[] {
  const known = clients.map(({ client_id, name }) => ({ value: String(client_id), label: name }));
  known.sort((a, b) => a.label.localeCompare(b.label));
  if (chosen && !known.some(({ value }) => value === chosen)) known.unshift({ value: chosen, label: `#${chosen}` });
  return [{ value: "", label: words.allClients }, ...known];
}
