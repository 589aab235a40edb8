/** What people choose: one of several, yes or no, what to search for. */

import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Field, type InputProps } from "./labelled.tsx";
import { Icon } from "./icon.tsx";
import { own } from "./values.tsx";

export interface Option<V> {
  value: V;
  label: string;
  hint?: string;
  disabled?: boolean;
}

export interface SelectProps<V> extends InputProps<V> {
  options: readonly Option<V>[];
}

/** One of a list. A value that the list does not have is shown as it is, and not lost. */
export function Select<V extends string | number | null>({ label, name, value, onChange, error, hint, disabled, required, hideLabel, fd, options }: SelectProps<V>) {
  const at = options.findIndex((each) => each.value === value);
  return (
    <Field label={label} error={error} hint={hint} required={required} hideLabel={hideLabel}>
      {(ids) => (
        <span class="select">
          <select
            {...ids}
            class="input"
            name={name}
            value={String(at)}
            disabled={disabled}
            onChange={({ currentTarget }) => {
              const chosen = options[Number(currentTarget.value)];
              if (chosen) onChange(chosen.value);
            }}
            data-fd={fd}
          >
            {at < 0 && <option value="-1">{value === null ? "" : String(value)}</option>}
            {options.map((each, i) => (
              <option key={i} value={String(i)} disabled={each.disabled}>
                {each.label}
              </option>
            ))}
          </select>
          <Icon name="down" size={16} />
        </span>
      )}
    </Field>
  );
}

/** One of a few, all of them in sight. */
export function Radios<V extends string | number>({ label, name, value, onChange, error, hint, disabled, hideLabel, fd, options }: SelectProps<V>) {
  const id = useId();
  return (
    <fieldset class={`field radios${error ? " wrong" : ""}`} disabled={disabled} data-fd={fd}>
      <legend class={hideLabel ? "unseen" : "label"}>{label}</legend>
      {options.map((each) => (
        <label key={each.value} class="choice">
          <input type="radio" name={name ?? id} checked={each.value === value} disabled={each.disabled} onChange={() => onChange(each.value)} />
          <span>
            {own(each.label)}
            {each.hint && <span class="hint">{own(each.hint)}</span>}
          </span>
        </label>
      ))}
      {hint && <div class="hint">{own(hint)}</div>}
      {error && (
        <div class="field-error" role="alert" data-fd="field-error">
          {error}
        </div>
      )}
    </fieldset>
  );
}

export function Checkbox({ label, name, value, onChange, error, hint, disabled, fd }: InputProps<boolean>) {
  return (
    <Field label={label} error={error} hint={hint} beside>
      {(ids) => (
        <input {...ids} type="checkbox" name={name} checked={value} disabled={disabled} onChange={(event) => onChange(event.currentTarget.checked)} data-fd={fd} />
      )}
    </Field>
  );
}

/** On or off, at once. */
export function Toggle({ label, name, value, onChange, error, hint, disabled, hideLabel, fd }: InputProps<boolean>) {
  return (
    <Field label={label} error={error} hint={hint} hideLabel={hideLabel} beside>
      {(ids) => (
        <input
          {...ids}
          type="checkbox"
          role="switch"
          class="toggle"
          name={name}
          checked={value}
          disabled={disabled}
          onChange={(event) => onChange(event.currentTarget.checked)}
          data-fd={fd}
        />
      )}
    </Field>
  );
}

/** Milliseconds of rest after which what is typed is searched for. */
const REST = 250;

export interface SearchProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
  fd?: string;
}

export function SearchInput({ label, value, onChange, placeholder, fd }: SearchProps) {
  const id = useId();
  const [typed, setTyped] = useState(value);
  const told = useRef(value);
  useEffect(() => {
    if (value !== told.current) setTyped(value); // changed from elsewhere, for instance by "back"
    told.current = value;
  }, [value]);
  const tell = (text: string) => {
    if (text === told.current) return;
    told.current = text;
    onChange(text);
  };
  useEffect(() => {
    const timer = setTimeout(() => tell(typed), REST);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <div class="search" role="search">
      <label class="unseen" for={id}>
        {label}
      </label>
      <Icon name="search" size={16} />
      <input
        id={id}
        class="input"
        type="search"
        dir="auto"
        value={typed}
        placeholder={placeholder ?? label}
        autocomplete="off"
        onInput={(event) => setTyped(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") tell(typed);
        }}
        data-fd={fd}
      />
    </div>
  );
}
