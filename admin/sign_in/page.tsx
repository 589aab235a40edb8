/** The pages of who is not signed in. */

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { SignedIn } from "../core/api.gen.ts";
import type { ApiError } from "../core/api.ts";
import { useAction } from "../core/resource.ts";
import { ask, signInByLink } from "../core/session.ts";
import { useTitle } from "../core/status.ts";
import { Brand } from "../frame/navigation.tsx";
import { navigate } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { openModal } from "../ui/dialog.tsx";
import { ErrorBox, Notice, Skeleton } from "../ui/show.tsx";
import { SignInForm } from "./form.tsx";
import { clock, useWait } from "./lockout.ts";
import { words } from "./words.ts";

function Card({ title, text, children, fd }: { title: string; text?: string; children: ComponentChildren; fd: string }) {
  useTitle(title);
  return (
    <main class="sign-in" data-fd={fd}>
      <div class="sign-in-card">
        <Brand />
        <h1>{title}</h1>
        {text && <p class="mute">{text}</p>}
        {children}
      </div>
    </main>
  );
}

export const SignInPage = () => (
  <Card title={words.title} fd="sign-in-page">
    <SignInForm />
  </Card>
);

/** Over everything, while the page below keeps what was typed. */
export function SignInAgain({ signed }: { signed: SignedIn }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    openModal(dialog.current);
    return () => dialog.current?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="sign-in-again"
      aria-label={words.again}
      onCancel={(event) => event.preventDefault()}
      onClose={() => openModal(dialog.current)}
      data-fd="sign-in-again"
    >
      <Card title={words.again} text={words.againText} fd="sign-in-page">
        <SignInForm email={signed.operator.email} />
      </Card>
    </dialog>
  );
}

/** A login link is used up by one click, and not by whatever only looks at its address. */
export function LinkPage() {
  const [secret] = useState(() => location.hash.slice(1));
  const action = useAction(async () => {
    // Before it is used: it must not stay in the history.
    history.replaceState(history.state, "", location.pathname);
    await signInByLink({ secret });
    await navigate("/", { replace: true });
  });
  const left = useWait(action.error);
  const gone = action.error?.status === 401;
  return (
    <Card title={gone ? words.linkGone : words.linkTitle} text={gone ? words.linkGoneText : secret ? words.linkText : undefined} fd="link-page">
      {!secret && <Notice tone="warn">{words.linkEmpty}</Notice>}
      {left > 0 && <Notice tone="warn">{words.locked(clock(left))}</Notice>}
      {action.error && !gone && !action.error.retry_after_ms && <ErrorBox error={action.error} />}
      {secret && !gone && (
        <Button kind="primary" busy={action.busy} disabled={left > 0} onClick={() => void action.run()} fd="use-link">
          {words.linkSubmit}
        </Button>
      )}
      <Button kind={secret && !gone ? "quiet" : "primary"} to="/" fd="to-password">
        {words.toPassword}
      </Button>
    </Card>
  );
}

export const Opening = () => (
  <div class="sign-in" data-fd="opening">
    <div class="sign-in-card">
      <Brand />
      <Skeleton lines={3} />
    </div>
  </div>
);

export const Unknown = ({ error }: { error: ApiError }) => (
  <Card title={words.unknown} fd="unknown">
    <ErrorBox error={error} onRetry={() => void ask()} />
  </Card>
);
