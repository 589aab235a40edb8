/** Dialogs: the browser's own, which keep the focus inside and give it back. */

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { createStore, useStore } from "../core/store.ts";
import { Button } from "./button.tsx";
import { Checkbox } from "./choice.tsx";
import { CopyField } from "./code.tsx";
import { Notice } from "./show.tsx";

export interface DialogProps {
  open: boolean;
  title: string;
  /** By Escape or its cross. Without it, the dialog stays until it is answered. */
  onClose?: () => void;
  children?: ComponentChildren;
  actions?: ComponentChildren;
  wide?: boolean;
  fd?: string;
}

/** Opens it above everything, with the focus where it asks for it, else at its first control. */
export function openModal(dialog: HTMLDialogElement | null): void {
  if (!dialog?.isConnected || dialog.open) return;
  dialog.showModal();
  dialog.querySelector<HTMLElement>("[data-autofocus]")?.focus();
}

export function Dialog({ open, ...rest }: DialogProps) {
  return open ? <Open {...rest} /> : null;
}

function Open({ title, onClose, children, actions, wide, fd }: Omit<DialogProps, "open">) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const element = dialog.current;
    const before = document.activeElement;
    openModal(element);
    return () => {
      element?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={`dialog${wide ? " wide" : ""}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault(); // whether it closes is for its owner to say
        onClose?.();
      }}
      onClose={(event) => {
        // Chromium closes at a second Escape whatever the first was told.
        if (event.target !== dialog.current || !dialog.current?.isConnected) return;
        if (onClose) onClose();
        else openModal(dialog.current);
      }}
      data-fd={fd ?? "dialog"}
    >
      <header class="dialog-head">
        <h2 id={id} dir="auto">
          {title}
        </h2>
        {onClose && <Button kind="quiet" icon="close" label="Close" onClick={() => onClose()} fd="dialog-close" />}
      </header>
      {children && <div class="dialog-body">{children}</div>}
      {actions && <footer class="dialog-foot">{actions}</footer>}
    </dialog>
  );
}

export interface Question {
  title: string;
  text?: ComponentChildren;
  /** The word on the button that does it. */
  action: string;
  danger?: boolean;
}

const asked = createStore<(Question & { answer: (yes: boolean) => void }) | null>(null);

/** Asks before something is done. */
export function confirm(question: Question): Promise<boolean> {
  asked.get()?.answer(false);
  return new Promise((done) => {
    const answer = (yes: boolean) => {
      asked.set(null);
      done(yes);
    };
    asked.set({ ...question, answer });
  });
}

/** Stands once in the frame. */
export function Confirmation() {
  const question = useStore(asked);
  if (!question) return null;
  const { title, text, action, danger, answer } = question;
  return (
    <Dialog
      open
      title={title}
      onClose={() => answer(false)}
      fd="confirm"
      actions={
        <>
          <Button onClick={() => answer(false)} fd="confirm-no">
            Cancel
          </Button>
          <Button kind={danger ? "danger" : "primary"} onClick={() => answer(true)} fd="confirm-yes">
            {action}
          </Button>
        </>
      }
    >
      {text}
    </Dialog>
  );
}

export interface OnceProps {
  title: string;
  secrets: readonly { label: string; value: string }[];
  text?: ComponentChildren;
  onClose: () => void;
}

/** Values that nobody is shown again: the dialog closes only when they were kept. */
export function Once({ title, secrets, text, onClose }: OnceProps) {
  const [kept, setKept] = useState(false);
  return (
    <Dialog
      open
      title={title}
      fd="once"
      actions={
        <Button kind="primary" disabled={!kept} onClick={() => onClose()} fd="once-done">
          Done
        </Button>
      }
    >
      <Notice tone="warn" title="Shown once">
        Copy it now: it cannot be shown again.
      </Notice>
      {text && <div>{text}</div>}
      {secrets.map((each) => (
        <CopyField key={each.label} label={each.label} value={each.value} fd="secret" />
      ))}
      <Checkbox label="I have kept it in a safe place" value={kept} onChange={setKept} fd="once-kept" />
    </Dialog>
  );
}
