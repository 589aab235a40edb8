/** Who is signed in, and what is theirs: the theme, the password, signing out. */

import { useState } from "preact/hooks";
import { helpOpen } from "../core/keys.ts";
import { asApiError, post } from "../core/api.ts";
import { type FieldProps, useForm } from "../core/form.ts";
import { type Role, signOut, useMe } from "../core/session.ts";
import { useStore } from "../core/store.ts";
import { Button } from "../ui/button.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Menu } from "../ui/menu.tsx";
import { Avatar, Foreign } from "../ui/show.tsx";
import { toast } from "../ui/toast.tsx";
import { chooseTheme, type Theme, theme } from "./theme.ts";

const THEMES: [Theme, string][] = [
  ["auto", "Theme of this machine"],
  ["light", "Light"],
  ["dark", "Dark"],
];

const ROLES: Record<Role, string> = { owner: "Owner", admin: "Admin", operator: "Operator" };

async function leave(): Promise<void> {
  try {
    await signOut();
  } catch (error) {
    toast(`You are still signed in. ${asApiError(error).message}`, { tone: "bad" });
  }
}

export function Account() {
  const me = useMe();
  const chosen = useStore(theme);
  const [changing, setChanging] = useState(false);
  return (
    <>
      <Menu
        label="Your account"
        kind="quiet"
        fd="account"
        head={
          <>
            <strong>
              <Foreign text={me.name} />
            </strong>
            <Foreign text={me.email} />
            <span>{ROLES[me.role]}</span>
          </>
        }
        items={[
          ...THEMES.map(([value, label]) => ({ label, checked: value === chosen, onSelect: () => chooseTheme(value) })),
          "line",
          { label: "Change password", icon: "lock", onSelect: () => setChanging(true) },
          { label: "Keyboard shortcuts", icon: "keyboard", onSelect: () => helpOpen.set(true) },
          "line",
          { label: "Sign out", icon: "leave", onSelect: () => void leave() },
        ]}
      >
        <Avatar name={me.name} url={me.avatar_url} />
        <span class="account-name" dir="auto">
          {me.name}
        </span>
      </Menu>
      {changing && <ChangePassword onClose={() => setChanging(false)} />}
    </>
  );
}

interface Passwords {
  current: string;
  new: string;
  again: string;
}

function ChangePassword({ onClose }: { onClose: () => void }) {
  const [differ, setDiffer] = useState(false);
  const form = useForm<Passwords>({
    value: { current: "", new: "", again: "" },
    save: (value) => post("/me/password", { current: value.current, new: value.new }),
  });
  const submit = async (event: Event) => {
    event.preventDefault();
    setDiffer(form.value.new !== form.value.again);
    if (form.value.new !== form.value.again || !(await form.submit())) return;
    toast("Your password is changed.", { tone: "good" });
    onClose();
  };
  const again: FieldProps<string> = { ...form.field("again"), error: differ ? "Is not the same as above" : null };
  return (
    <Dialog open title="Change password" onClose={onClose} fd="change-password">
      <FormView form={form} bare onSubmit={(event) => void submit(event)}>
        <TextInput {...form.field("current")} label="Current password" type="password" autoComplete="current-password" autoFocus fd="password-current" />
        <TextInput {...form.field("new")} label="New password" type="password" autoComplete="new-password" hint="At least 12 characters" fd="password-new" />
        <TextInput {...again} label="New password again" type="password" autoComplete="new-password" fd="password-again" />
        <div class="dialog-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" submit busy={form.saving} fd="password-save">
            Change password
          </Button>
        </div>
      </FormView>
    </Dialog>
  );
}
