/** E-mail address and password. */

import { useState } from "preact/hooks";
import { useAction } from "../core/resource.ts";
import { signIn } from "../core/session.ts";
import { Button } from "../ui/button.tsx";
import { TextInput } from "../ui/field.tsx";
import { ErrorBox, Notice } from "../ui/show.tsx";
import { clock, useWait } from "./lockout.ts";
import { words } from "./words.ts";

/** `email` is known where somebody comes back. */
export function SignInForm({ email: known = "" }: { email?: string }) {
  const [email, setEmail] = useState(known);
  const [password, setPassword] = useState("");
  const action = useAction(() => signIn({ email, password }));
  const left = useWait(action.error);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (left) return;
    await action.run();
    setPassword("");
  };
  return (
    <form class="form" noValidate onSubmit={(event) => void submit(event)} data-fd="sign-in">
      <TextInput label={words.email} name="email" type="email" value={email} onChange={setEmail} autoComplete="username" autoFocus={!known} fd="email" />
      <TextInput label={words.password} name="password" type="password" value={password} onChange={setPassword} autoComplete="current-password" autoFocus={!!known} fd="password" />
      {left > 0 ? (
        <Notice tone="warn" fd="locked">
          {words.locked(clock(left))}
        </Notice>
      ) : (
        action.error && !action.error.retry_after_ms && <ErrorBox error={action.error} fd="sign-in-error" />
      )}
      <Button kind="primary" submit busy={action.busy} disabled={left > 0 || !email || !password} fd="sign-in-submit">
        {words.submit}
      </Button>
      <p class="hint">{words.forgotten}</p>
    </form>
  );
}
