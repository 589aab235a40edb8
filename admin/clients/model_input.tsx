/** A model chosen from a list, or written where the list does not have it, and what it costs. */

import type { ModelChoice, Models } from "../core/api.gen.ts";
import type { Fields } from "../core/form.ts";
import { Select } from "../ui/choice.tsx";
import { TextInput } from "../ui/field.tsx";
import { choiceOf, isOther, optionsOf, priceOf, priceText, valueOf } from "./choice.ts";
import { words } from "./words.ts";

const { assistant } = words;

export interface ModelInputProps {
  at: Fields<Required<ModelChoice>>;
  models: Models;
  label: string;
  /** What it means to choose none. */
  none: string;
  hint?: string;
  /** None means that there is none, so that it costs nothing. */
  optional?: boolean;
  fd: string;
}

export function ModelInput({ at, models, label, none, hint, optional, fd }: ModelInputProps) {
  const { provider, model } = at.value;
  const value = valueOf({ provider, model }, models);
  const field = at.field("model");
  const wrong = at.field("provider").error ?? (isOther(value) ? null : field.error);
  const price = priceOf({ provider, model }, models);
  const cost = optional && !value ? undefined : price ? assistant.costs(priceText(price)) : assistant.noPrice;
  const hints = [hint, cost].filter(Boolean).join(" ");
  return (
    <>
      <Select label={label} value={value} options={optionsOf(models, none)} onChange={(chosen) => at.set(choiceOf(chosen))} hint={hints} error={wrong} fd={fd} />
      {isOther(value) && (
        <TextInput {...field} label={`${label}: ${assistant.own}`} hint={assistant.ownHint} mono dir="ltr" maxLength={100} fd={`${fd}-name`} />
      )}
    </>
  );
}
