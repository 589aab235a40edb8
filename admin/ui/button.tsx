/** A button, and a link that looks like one. */

import type { ComponentChildren } from "preact";
import { Link } from "../router.ts";
import { Icon, type IconName } from "./icon.tsx";

export interface ButtonProps {
  /** `primary` once a view; `quiet` has no border; `danger` cannot be undone. */
  kind?: "primary" | "plain" | "quiet" | "danger";
  small?: boolean;
  /** It works: a spinner, and no second click. */
  busy?: boolean;
  icon?: IconName;
  /** Of a button that is an icon alone: read aloud, and shown on hover. */
  label?: string;
  title?: string;
  disabled?: boolean;
  /** It cannot be done now, and why: shown on hover, read aloud. Unlike a disabled one it can be reached by the keyboard. */
  blocked?: string;
  /** Sends the form that it stands in. */
  submit?: boolean;
  /** One of our pages: a link. */
  to?: string;
  /** Of a button that stays down. */
  pressed?: boolean;
  onClick?: (event: MouseEvent) => void;
  children?: ComponentChildren;
  fd?: string;
}

export function Button({ kind = "plain", small, busy, icon, label, title, disabled, blocked, submit, to, pressed, onClick, children, fd }: ButtonProps) {
  const alone = children === undefined || children === null;
  const look = `button ${kind}${small ? " small" : ""}${alone ? " alone" : ""}`;
  const inside = (
    <>
      {busy ? <span class="spin" aria-hidden="true" /> : icon && <Icon name={icon} size={small ? 16 : 18} />}
      {!alone && <span class="button-text">{children}</span>}
    </>
  );
  const hover = blocked ?? title ?? (alone ? label : undefined);
  const off = busy || blocked !== undefined;
  if (to !== undefined && !disabled && blocked === undefined) {
    return (
      <Link to={to} class={look} label={label} title={hover} fd={fd}>
        {inside}
      </Link>
    );
  }
  return (
    <button
      type={submit ? "submit" : "button"}
      class={look}
      aria-label={label}
      title={hover}
      aria-pressed={pressed}
      aria-busy={busy || undefined}
      // Not `disabled` while it works: the focus would be lost.
      aria-disabled={off || undefined}
      disabled={disabled}
      onClick={(event) => (off ? event.preventDefault() : onClick?.(event))}
      data-fd={fd}
    >
      {inside}
    </button>
  );
}
