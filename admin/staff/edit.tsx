/** An operator's name, role, client and status. */

import { useMemo, useRef } from "preact/hooks";
import type { OperatorEdit, OperatorPage, OperatorRow } from "../core/api.gen.ts";
import { ApiError, get, put } from "../core/api.ts";
import { useForm } from "../core/form.ts";
import { useMe } from "../core/session.ts";
import { Button } from "../ui/button.tsx";
import { Radios } from "../ui/choice.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Row } from "../ui/page.tsx";
import { RoleFields } from "./fields.tsx";
import { words } from "./words.ts";

export const editOf = ({ version, name, role, client_id, status }: OperatorRow): OperatorEdit => ({ version, name, role, client_id, status });

/** One operator alone: the page of the list that begins with them. */
async function read(id: number): Promise<OperatorRow> {
  const { rows } = await get<OperatorPage>("/operators", { before: id + 1, limit: 1 });
  const [row] = rows;
  if (row?.id === id) return row;
  throw new ApiError(404, { code: "not_found", message: "This operator is gone." });
}

const STATES = [
  { value: "active" as const, label: words.active },
  { value: "disabled" as const, label: words.disabled },
];

export function EditOperator({ operator, onClose, onSaved }: { operator: OperatorRow; onClose: () => void; onSaved: (saved: OperatorRow) => void }) {
  const me = useMe();
  const own = operator.id === me.id;
  const saved = useRef(operator);
  const value = useMemo(() => editOf(operator), [operator]);
  const form = useForm<OperatorEdit>({
    value,
    async save(edit) {
      saved.current = await put<OperatorRow>(`/operators/${operator.id}`, edit);
      onSaved(saved.current);
      return editOf(saved.current);
    },
    load: async () => editOf(await read(operator.id)),
    labels: { name: words.name, role: words.role, client_id: words.client, status: words.status },
  });
  const client = operator.client_id === null ? null : { id: operator.client_id, name: operator.client_name ?? `#${operator.client_id}` };
  return (
    <Dialog open title={words.editing.title(operator.name)} onClose={onClose} fd="edit-operator">
      <FormView form={form} bare>
        <TextInput {...form.field("name")} label={words.name} hint={words.create.nameHint} required maxLength={200} />
        <RoleFields at={form} disabled={own} client={client} />
        <Radios {...form.field("status")} label={words.status} options={STATES} disabled={own} hint={own ? words.editing.own : words.editing.out} />
        <Row end>
          <Button onClick={onClose}>{words.create.cancel}</Button>
          <Button kind="primary" submit busy={form.saving} disabled={!form.dirty} fd="save-operator">
            {words.editing.submit}
          </Button>
        </Row>
      </FormView>
    </Dialog>
  );
}
