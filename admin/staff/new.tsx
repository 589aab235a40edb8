/** Somebody more who may sign in. */

import { useState } from "preact/hooks";
import type { OperatorCreate, OperatorCreated, OperatorRow } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { useForm } from "../core/form.ts";
import { useMe } from "../core/session.ts";
import { Button } from "../ui/button.tsx";
import { Radios } from "../ui/choice.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Row } from "../ui/page.tsx";
import { RoleFields } from "./fields.tsx";
import { newLink, passwordOf, type Secret } from "./secret.tsx";
import { words } from "./words.ts";

const { create } = words;

type Draft = Required<OperatorCreate>;
type Way = keyof typeof create.ways;

const WAYS = (Object.keys(create.ways) as Way[]).map((value) => ({ value, ...create.ways[value] }));

export interface NewOperatorProps {
  onClose: () => void;
  onMade: (operator: OperatorRow, secret: Secret) => void;
}

export function NewOperator({ onClose, onMade }: NewOperatorProps) {
  const me = useMe();
  const [way, setWay] = useState<Way>("password");
  const form = useForm<Draft>({
    value: { email: "", name: "", role: "operator", client_id: me.client_id },
    async save(draft) {
      const { operator, password } = await post<OperatorCreated>("/operators", draft);
      onMade(operator, way === "link" ? await linkOr(operator, password) : passwordOf(operator, password));
    },
    labels: { email: words.email, name: words.name, role: words.role, client_id: words.client },
  });
  return (
    <Dialog open title={create.title} onClose={onClose} fd="new-operator-dialog">
      <FormView form={form} bare>
        <TextInput {...form.field("name")} label={words.name} hint={create.nameHint} required autoFocus maxLength={200} />
        <TextInput {...form.field("email")} label={words.email} hint={create.emailHint} type="email" required maxLength={320} />
        <RoleFields at={form} />
        <Radios label={create.way} value={way} options={WAYS} onChange={setWay} fd="way" />
        <Row end>
          <Button onClick={onClose}>{create.cancel}</Button>
          <Button kind="primary" submit busy={form.saving} fd="create-operator">
            {create.submit}
          </Button>
        </Row>
      </FormView>
    </Dialog>
  );
}

/** The operator is there in any case, and so is a password: without a link that lets them in. */
async function linkOr(operator: OperatorRow, password: string): Promise<Secret> {
  try {
    return await newLink(operator);
  } catch (error) {
    console.warn("no login link was made, so the password is shown", error);
    return passwordOf(operator, password);
  }
}
