/** Plans as options of a list. */

import type { Plans } from "../core/api.gen.ts";
import { money } from "../core/text.ts";
import { words } from "./words.ts";

export const planOptions = ({ rows }: Plans): { value: string; label: string }[] =>
  rows.map(({ name, monthly_messages, price }) => ({ value: name, label: words.planText(name, monthly_messages, money(price)) }));
