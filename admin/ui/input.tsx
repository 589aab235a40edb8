/** What people type. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Field, type InputProps } from "./labelled.tsx";

export interface TextInputProps extends InputProps<string | null, string> {
  type?: "text" | "email" | "password" | "url" | "tel" | "date" | "datetime-local";
  placeholder?: string;
  autoComplete?: string;
  maxLength?: number;
  autoFocus?: boolean;
  mono?: boolean;
  dir?: "auto" | "ltr";
}

export function TextInput({ label, name, value, onChange, error, hint, disabled, required, hideLabel, fd, type = "text", placeholder, autoComplete = "off", maxLength, autoFocus, mono, dir }: TextInputProps) {
  const input = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    if (autoFocus) input.current?.focus();
  }, []);
  return (
    <Field label={label} error={error} hint={hint} required={required} hideLabel={hideLabel}>
      {(ids) => (
        <input
          {...ids}
          ref={input}
          class={`input${mono ? " mono" : ""}`}
          type={type as "text"} // Preact's types want one literal, because some roles go with some types only
          name={name}
          value={value ?? ""}
          placeholder={placeholder}
          autocomplete={autoComplete}
          maxLength={maxLength}
          disabled={disabled}
          required={required}
          dir={dir ?? (type === "text" && !mono ? "auto" : "ltr")}
          spellcheck={type === "text" && !mono ? undefined : false}
          onInput={(event) => onChange(event.currentTarget.value)}
          data-autofocus={autoFocus || undefined}
          data-fd={fd}
        />
      )}
    </Field>
  );
}

export interface TextAreaProps extends InputProps<string | null, string> {
  rows?: number;
  mono?: boolean;
  placeholder?: string;
  maxLength?: number;
  /** As high as its text, from `rows` on. */
  grow?: boolean;
  onKeyDown?: (event: KeyboardEvent) => void;
}

export function TextArea({ label, name, value, onChange, error, hint, disabled, required, hideLabel, fd, rows = 4, mono, placeholder, maxLength, grow, onKeyDown }: TextAreaProps) {
  return (
    <Field label={label} error={error} hint={hint} required={required} hideLabel={hideLabel}>
      {(ids) => (
        <textarea
          {...ids}
          class={`input${mono ? " mono" : ""}${grow ? " grow" : ""}`}
          name={name}
          value={value ?? ""}
          rows={rows}
          placeholder={placeholder}
          maxLength={maxLength}
          disabled={disabled}
          required={required}
          dir="auto"
          style={grow ? { "--rows": String(rows) } : undefined}
          spellcheck={mono ? false : undefined}
          onInput={(event) => onChange(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          data-fd={fd}
        />
      )}
    </Field>
  );
}

export interface NumberInputProps extends InputProps<number | null> {
  min?: number;
  max?: number;
  step?: number | "any";
  /** Behind the number: "seconds", "USD". */
  unit?: string;
}

/** Gives null for nothing, and for what is no number. */
export function NumberInput({ label, name, value, onChange, error, hint, disabled, required, hideLabel, fd, min, max, step = "any", unit }: NumberInputProps) {
  // "0." is on its way to 0.5: what is typed stays until it means another number.
  const [typed, setTyped] = useState("");
  const means = (text: string) => (text.trim() === "" || Number.isNaN(Number(text)) ? null : Number(text));
  const shown = means(typed) === value && typed !== "" ? typed : value === null ? "" : String(value);
  return (
    <Field label={label} error={error} hint={hint} required={required} hideLabel={hideLabel}>
      {(ids) => (
        <span class="with-unit">
          <input
            {...ids}
            class="input number"
            type="number"
            inputMode="decimal"
            name={name}
            value={shown}
            min={min}
            max={max}
            step={step}
            disabled={disabled}
            required={required}
            autocomplete="off"
            onInput={({ currentTarget }) => {
              setTyped(currentTarget.value);
              onChange(means(currentTarget.value));
            }}
            data-fd={fd}
          />
          {unit && <span class="unit">{unit}</span>}
        </span>
      )}
    </Field>
  );
}

/** A list of texts, one a line. Empty lines do not count. `mono` for addresses and names of a program, not for sentences. */
export function LinesInput({ value, onChange, ...rest }: InputProps<readonly string[], string[]> & { rows?: number; placeholder?: string; mono?: boolean }) {
  const lines = (text: string) => text.split("\n").map((line) => line.trim()).filter(Boolean);
  const [typed, setTyped] = useState("");
  const shown = lines(typed).join("\n") === value.join("\n") && typed !== "" ? typed : value.join("\n");
  return (
    <TextArea
      {...rest}
      grow
      value={shown}
      onChange={(text) => {
        setTyped(text);
        onChange(lines(text));
      }}
    />
  );
}

/** #rrggbb, by a picker or by its text. */
export function ColorInput({ label, name, value, onChange, error, hint, disabled, required, hideLabel, fd }: InputProps<string | null, string>) {
  const valid = /^#[0-9a-f]{6}$/i.test(value ?? "");
  return (
    <Field label={label} error={error} hint={hint} required={required} hideLabel={hideLabel}>
      {(ids) => (
        <span class="color">
          <input
            type="color"
            aria-label={`${label}: choose`}
            value={valid ? value! : "#808080"}
            disabled={disabled}
            onInput={(event) => onChange(event.currentTarget.value)}
          />
          <input
            {...ids}
            class="input mono"
            name={name}
            value={value ?? ""}
            dir="ltr"
            placeholder="#2563eb"
            maxLength={7}
            disabled={disabled}
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => onChange(event.currentTarget.value)}
            data-fd={fd}
          />
        </span>
      )}
    </Field>
  );
}
