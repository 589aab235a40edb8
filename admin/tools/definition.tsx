/** The part of a form that a tool of the catalogue and a look-up have in common. */

import type { Fields } from "../core/form.ts";
import { Checkbox, Radios, Select, TextArea } from "../ui/field.tsx";
import { Section } from "../ui/page.tsx";
import type { DefinitionForm } from "./edit.ts";
import type { Binding, Effect, Proof } from "./kinds.ts";
import { Pairs } from "./pairs.tsx";
import { recordOf } from "./pairs.ts";
import { SchemaInput } from "./schema_input.tsx";
import { words } from "./words.ts";

const choices = <V extends string>(texts: Record<V, string>) => Object.entries(texts).map(([value, label]) => ({ value: value as V, label: label as string }));

export const EFFECTS = choices<Effect>(words.effects);
export const PROOFS = choices<Proof>(words.proofs);
const BINDINGS = choices<Binding>(words.bindings);

export interface DefinitionFieldsProps<T extends DefinitionForm> {
  form: Fields<T>;
  /** What belongs to the definition besides, for the check. */
  rest: Record<string, unknown>;
  check: string;
  disabled?: boolean;
}

export function DefinitionFields<T extends DefinitionForm>({ form: whole, rest, check, disabled }: DefinitionFieldsProps<T>) {
  const form = whole as unknown as Fields<DefinitionForm>;
  const { description, parameters_schema, effect, proof, confirm, bound, label } = form.value;
  const definition = { ...rest, description, parameters_schema, effect, proof, confirm, bound: recordOf(bound), label: recordOf(label) };
  return (
    <>
      <Section title={words.definition}>
        <TextArea {...form.field("description")} label={words.description} hint={words.descriptionHint} rows={3} grow required disabled={disabled} fd="description" />
        <SchemaInput {...form.field("parameters_schema")} definition={definition} check={check} disabled={disabled} />
      </Section>
      <Section title={words.rules}>
        <Radios {...form.field("effect")} label={words.effect} options={EFFECTS} disabled={disabled} />
        <Select {...form.field("proof")} label={words.proof} options={PROOFS} disabled={disabled} />
        <Checkbox {...form.field("confirm")} label={words.confirm} hint={words.confirmHint} disabled={disabled} />
        <Pairs
          {...form.field("bound")}
          label={words.bound}
          hint={words.boundHint}
          nameLabel={words.boundName}
          valueLabel={words.boundFrom}
          options={BINDINGS}
          fresh={["", "visitor.id"]}
          disabled={disabled}
          fd="bound"
        />
        <Pairs
          {...form.field("label")}
          label={words.label}
          hint={words.labelHint}
          nameLabel={words.labelLanguage}
          valueLabel={words.labelText}
          fresh={["", ""]}
          disabled={disabled}
          fd="label"
        />
      </Section>
    </>
  );
}
