/** An input for pairs: a name, and a text or a choice. */

import { useId } from "preact/hooks";
import { Button } from "../ui/button.tsx";
import { Select, type Option } from "../ui/choice.tsx";
import { TextInput } from "../ui/field.tsx";
import { own } from "../ui/values.tsx";
import type { Pair } from "./pairs.ts";
import { words } from "./words.ts";

export interface PairsProps<V extends string> {
  label: string;
  hint?: string;
  nameLabel: string;
  valueLabel: string;
  value: readonly Pair<V>[];
  onChange: (pairs: Pair<V>[]) => void;
  error?: string | null;
  /** The values to choose from; without, it is a text. */
  options?: readonly Option<V>[];
  fresh: Pair<V>;
  disabled?: boolean;
  fd?: string;
}

export function Pairs<V extends string>({ label, hint, nameLabel, valueLabel, value, onChange, error, options, fresh, disabled, fd }: PairsProps<V>) {
  const id = useId();
  const put = (at: number, pair: Pair<V>) => onChange(value.map((each, i) => (i === at ? pair : each)));
  return (
    <fieldset class={`field tools-pairs${error ? " wrong" : ""}`} disabled={disabled} aria-describedby={error ? id : undefined} data-fd={fd}>
      <legend class="label">{label}</legend>
      {hint && <div class="hint">{own(hint)}</div>}
      {value.map(([name, text], at) => (
        <div class="tools-pair" key={at}>
          <TextInput label={nameLabel} hideLabel placeholder={nameLabel} mono value={name} onChange={(next) => put(at, [next, text])} />
          {options ? (
            <Select label={valueLabel} hideLabel value={text} options={options} onChange={(next) => put(at, [name, next])} />
          ) : (
            <TextInput label={valueLabel} hideLabel placeholder={valueLabel} value={text} onChange={(next) => put(at, [name, next as V])} />
          )}
          <Button kind="quiet" icon="trash" label={words.remove} disabled={disabled} onClick={() => onChange(value.filter((_, i) => i !== at))} />
        </div>
      ))}
      <Button small icon="plus" disabled={disabled} onClick={() => onChange([...value, fresh])}>
        {words.add}
      </Button>
      {error && (
        <div class="field-error" id={id} role="alert" data-fd="field-error">
          {error}
        </div>
      )}
    </fieldset>
  );
}
