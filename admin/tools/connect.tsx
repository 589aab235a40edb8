/** A system's configuration: as inputs, or as the JSON that the command line takes. */

import { useState } from "preact/hooks";
import type { IntegrationInfo } from "../core/api.gen.ts";
import { useAction } from "../core/resource.ts";
import { Button } from "../ui/button.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Select, TextArea, TextInput } from "../ui/field.tsx";
import { ErrorBox } from "../ui/show.tsx";
import { type Answers, type Ask, asked, configOf, firstAnswers } from "./connection.ts";
import { objectOf, pretty } from "./edit.ts";
import type { IntegrationKind } from "./kinds.ts";
import { words } from "./words.ts";

const { integrations } = words;
const KINDS = Object.entries(integrations.kinds).map(([value, label]) => ({ value: value as IntegrationKind, label }));

export interface ConnectProps {
  title: string;
  hint?: string;
  /** Of a system that is there: its kind stays. */
  kind?: IntegrationKind;
  save: (kind: IntegrationKind, config: Record<string, unknown>) => Promise<IntegrationInfo>;
  onDone: (saved: IntegrationInfo) => void;
  onClose: () => void;
}

export function Connect({ title, hint, kind: fixed, save, onDone, onClose }: ConnectProps) {
  const [kind, setKind] = useState<IntegrationKind>(fixed ?? "shopify");
  const [answers, setAnswers] = useState<Answers>(() => firstAnswers(kind));
  const [text, setText] = useState<string | null>(null);
  const saving = useAction(async () => onDone(await save(kind, text === null ? configOf(kind, answers) : objectOf(text, "config"))));
  const choose = (next: IntegrationKind) => {
    setKind(next);
    setAnswers(firstAnswers(next));
    setText((old) => (old === null ? null : pretty(configOf(next, firstAnswers(next)))));
  };
  const asks = asked(kind, answers);
  const at = saving.error?.field?.replace(/^config\./, "") ?? "";
  const elsewhere = saving.error && (text === null ? !asks.some(({ path }) => path === at) : at !== "config");
  return (
    <Dialog
      open
      wide={text !== null}
      title={title}
      onClose={onClose}
      fd="connect"
      actions={
        <>
          <Button kind="quiet" icon="code" onClick={() => setText(text === null ? pretty(configOf(kind, answers)) : null)}>
            {text === null ? integrations.advanced : integrations.form}
          </Button>
          <Button onClick={onClose}>{integrations.cancel}</Button>
          <Button kind="primary" busy={saving.busy} onClick={() => void saving.run()} fd="connect-save">
            {integrations.connectAction}
          </Button>
        </>
      }
    >
      {hint && <p class="hint">{hint}</p>}
      {!fixed && <Select label={integrations.kind} value={kind} options={KINDS} onChange={choose} fd="kind" />}
      {text === null ? (
        asks.map((ask) => (
          <Input
            key={`${kind} ${ask.path}`}
            ask={ask}
            value={answers[ask.path] ?? ""}
            onChange={(value) => setAnswers({ ...answers, [ask.path]: value })}
            error={at === ask.path ? (saving.error?.message ?? null) : null}
          />
        ))
      ) : (
        <TextArea label={integrations.connection} hint={integrations.advancedHint} value={text} onChange={setText} error={at === "config" ? (saving.error?.message ?? null) : null} mono grow rows={8} />
      )}
      {elsewhere && saving.error && <ErrorBox error={saving.error} />}
    </Dialog>
  );
}

interface AnswerProps {
  ask: Ask;
  value: string;
  onChange: (value: string) => void;
  error: string | null;
}

function Input({ ask: { path, label, hint, type, options, optional }, ...rest }: AnswerProps) {
  const given = { label, hint, name: path, required: !optional, ...rest };
  if (options) return <Select {...given} options={options} />;
  if (type === "area") return <TextArea {...given} mono rows={4} />;
  // A browser is to keep no password of somebody else's system.
  const autoComplete = type === "password" ? "new-password" : "off";
  return <TextInput {...given} type={type === "number" ? "text" : type} mono={type !== "password"} autoComplete={autoComplete} fd={`ask-${path}`} />;
}
