/** What may be done with an operator. */

import { useState } from "preact/hooks";
import type { OperatorRow } from "../core/api.gen.ts";
import { asApiError, put } from "../core/api.ts";
import { useMe } from "../core/session.ts";
import { confirm } from "../ui/dialog.tsx";
import { Menu, type MenuItem } from "../ui/menu.tsx";
import { toast } from "../ui/toast.tsx";
import { EditOperator, editOf } from "./edit.tsx";
import { newLink, newPassword, type Secret } from "./secret.tsx";
import { words } from "./words.ts";

export interface ActionsProps {
  operator: OperatorRow;
  onChange: (operator: OperatorRow) => void;
  onSecret: (secret: Secret) => void;
  onError: (message: string | null) => void;
}

export function Actions({ operator, onChange, onSecret, onError }: ActionsProps) {
  const me = useMe();
  const { name, status } = operator;
  const [editing, setEditing] = useState(false);
  const attempt = (act: () => Promise<void>) => async () => {
    onError(null);
    try {
      await act();
    } catch (error) {
      onError(asApiError(error).message);
    }
  };
  const reset = attempt(async () => {
    const yes = await confirm({ title: words.resetAsk(name), text: words.resetText, action: words.resetAction, danger: true });
    if (yes) onSecret(await newPassword(operator));
  });
  const link = attempt(async () => onSecret(await newLink(operator)));
  const place = (to: OperatorRow["status"]) =>
    attempt(async () => {
      const question = { title: words.disableAsk(name), text: words.disableText, action: words.disable, danger: true };
      if (to === "disabled" && !(await confirm(question))) return;
      onChange(await put<OperatorRow>(`/operators/${operator.id}`, { ...editOf(operator), status: to }));
      toast(words.changed, { tone: "good" });
    });
  const standing: MenuItem =
    status === "active"
      ? { label: words.disable, icon: "lock", danger: true, onSelect: () => void place("disabled")() }
      : { label: words.enable, icon: "check", onSelect: () => void place("active")() };
  const items: (MenuItem | "line")[] = [
    { label: words.edit, icon: "edit", onSelect: () => setEditing(true) },
    { label: words.reset, icon: "key", onSelect: () => void reset() },
    { label: words.link, icon: "link", onSelect: () => void link() },
    ...(operator.id === me.id ? [] : (["line", standing] as const)),
  ];
  return (
    <>
      <Menu label={words.actions(name)} items={items} kind="quiet" small fd="operator-menu" />
      {editing && (
        <EditOperator
          operator={operator}
          onClose={() => setEditing(false)}
          onSaved={(saved) => {
            setEditing(false);
            onChange(saved);
            toast(words.changed, { tone: "good" });
          }}
        />
      )}
    </>
  );
}
