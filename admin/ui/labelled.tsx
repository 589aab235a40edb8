/** What stands around every input: its label, its hint and the error that belongs to it. */

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { own } from "./values.tsx";

/** What all of them take; `{...form.field("name")}` gives the middle four. */
export interface InputProps<V, Given = V> {
  label: string;
  name?: string;
  value: V;
  onChange: (value: Given) => void;
  error?: string | null;
  hint?: ComponentChildren;
  disabled?: boolean;
  required?: boolean;
  /** The label is only read aloud. */
  hideLabel?: boolean;
  fd?: string;
}

/** For the element that is filled in. */
export interface Ids {
  id: string;
  "aria-describedby": string | undefined;
  "aria-invalid": boolean | undefined;
}

export interface FieldProps {
  label: string;
  error?: string | null;
  hint?: ComponentChildren;
  required?: boolean;
  hideLabel?: boolean;
  /** The label stands behind it, as with a checkbox. */
  beside?: boolean;
  children: (ids: Ids) => ComponentChildren;
}

/** Label, hint and error around an input of one's own. */
export function Field({ label, error, hint, required, hideLabel, beside, children }: FieldProps) {
  const id = useId();
  const [hintId, errorId] = [`${id}-hint`, `${id}-error`];
  const about = [hint ? hintId : "", error ? errorId : ""].filter(Boolean).join(" ");
  const ids: Ids = { id, "aria-describedby": about || undefined, "aria-invalid": error ? true : undefined };
  return (
    <div class={`field${beside ? " beside" : ""}${error ? " wrong" : ""}`}>
      <label for={id} class={hideLabel ? "unseen" : "label"}>
        {label}
        {required && <span aria-hidden="true"> *</span>}
      </label>
      {children(ids)}
      {hint && (
        <div class="hint" id={hintId}>
          {own(hint)}
        </div>
      )}
      {error && (
        <div class="field-error" id={errorId} role="alert" data-fd="field-error">
          {error}
        </div>
      )}
    </div>
  );
}
