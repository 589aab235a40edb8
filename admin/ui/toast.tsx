/** Short news in a corner, above everything, for some seconds. */

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { createStore, useStore } from "../core/store.ts";
import { Button } from "./button.tsx";
import { Icon } from "./icon.tsx";

export interface ToastOptions {
  tone?: "good" | "bad";
  action?: { label: string; run: () => void };
}

interface Toast extends ToastOptions {
  id: number;
  text: string;
}

/** Milliseconds that one stays; longer where there is something to do. */
const STAY = 5000;
const STAY_WITH_ACTION = 10_000;

const toasts = createStore<readonly Toast[]>([]);
let last = 0;

export function toast(text: string, options: ToastOptions = {}): void {
  last += 1;
  const mine: Toast = { ...options, id: last, text };
  toasts.set((old) => [...old.slice(-2), mine]);
}

const away = (id: number) => toasts.set((old) => old.filter((each) => each.id !== id));

export function Toasts() {
  const list = useStore(toasts);
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    // Shown anew with each one: what was shown last is on top, also of a dialog.
    const { current } = place;
    if (current?.matches(":popover-open")) current.hidePopover();
    if (list.length) current?.showPopover();
  }, [list]);
  return (
    <div class="toasts" popover="manual" role="status" aria-live="polite" ref={place}>
      {list.map((each) => (
        <One key={each.id} {...each} />
      ))}
    </div>
  );
}

function One({ id, text, tone, action }: Toast) {
  const held = useRef(false);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!held.current) away(id);
    }, action ? STAY_WITH_ACTION : STAY);
    return () => clearInterval(timer);
  }, [id]);
  const hold = (yes: boolean) => () => {
    held.current = yes;
  };
  return (
    <div class={`toast${tone ? ` tone-${tone}` : ""}`} data-fd="toast" onMouseEnter={hold(true)} onMouseLeave={hold(false)} onFocusIn={hold(true)} onFocusOut={hold(false)}>
      {tone && <Icon name={tone === "good" ? "check" : "warn"} />}
      <span dir="auto">{text}</span>
      {action && (
        <Button small kind="quiet" onClick={() => (away(id), action.run())}>
          {action.label}
        </Button>
      )}
      <Button small kind="quiet" icon="close" label="Dismiss" onClick={() => away(id)} />
    </div>
  );
}
