/** JSON Schema as a text, with what the server says of it while it is written. */

import { useEffect, useState } from "preact/hooks";
import type { DefinitionChecked, DefinitionProblem } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { Icon } from "../ui/icon.tsx";
import { TextArea } from "../ui/field.tsx";
import { Json } from "../ui/code.tsx";
import { own } from "../ui/values.tsx";
import { words } from "./words.ts";

/** Milliseconds of rest after which a definition is checked. */
const REST = 400;

export interface SchemaInputProps {
  name: string;
  value: string;
  onChange: (text: string) => void;
  error: string | null;
  disabled?: boolean;
  /** The definition as it would be saved, its schema as the text it is. */
  definition: Record<string, unknown>;
  /** The route that checks it. */
  check: string;
}

export function SchemaInput({ name, value, onChange, error, disabled, definition, check }: SchemaInputProps) {
  const checked = useChecked(check, definition);
  return (
    <div class="tools-schema">
      <TextArea label={words.schema} hint={words.schemaHint} name={name} value={value} onChange={onChange} error={error} disabled={disabled} mono grow rows={8} fd="schema" />
      {checked && <Verdict checked={checked} />}
    </div>
  );
}

function Verdict({ checked: { problems, offered } }: { checked: DefinitionChecked }) {
  if (problems.length) {
    return (
      <div class="tools-verdict bad" role="status" data-fd="problems">
        <strong>
          <Icon name="warn" size={16} /> {words.problems(problems.length)}
        </strong>
        <ul>
          {problems.map((each, at) => (
            <li key={at}>
              <code>{placeOf(each)}</code> <span dir="auto">{each.message}</span>
            </li>
          ))}
        </ul>
      </div>
    );
  }
  return (
    <div class="tools-verdict good" role="status" data-fd="no-problem">
      <strong>
        <Icon name="check" size={16} /> {own(words.noProblem)}
      </strong>
      {offered && (
        <details>
          <summary>{words.offered}</summary>
          <Json value={offered} label={words.offered} open={4} />
        </details>
      )}
    </div>
  );
}

const placeOf = ({ field, path }: DefinitionProblem): string => (path ? `${field}/${path}` : field);

/** What the server says of the newest definition; what it says of an older one is not shown. */
function useChecked(path: string, definition: Record<string, unknown>): DefinitionChecked | null {
  const [checked, setChecked] = useState<DefinitionChecked | null>(null);
  const sent = JSON.stringify(definition);
  useEffect(() => {
    let current = true;
    const timer = setTimeout(async () => {
      try {
        const told = await post<DefinitionChecked>(path, { definition: JSON.parse(sent) });
        if (current) setChecked(told);
      } catch {
        if (current) setChecked(null); // saving says what is wrong
      }
    }, REST);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [path, sent]);
  return checked;
}
