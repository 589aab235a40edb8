/** A button with a list of things to do, above everything else on the page. */

import type { ComponentChildren } from "preact";
import { useId, useRef, useState } from "preact/hooks";
import { Link } from "../router.ts";
import { Icon, type IconName } from "./icon.tsx";

export interface MenuItem {
  label: string;
  icon?: IconName;
  onSelect?: () => void;
  /** One of our pages. */
  to?: string;
  danger?: boolean;
  disabled?: boolean;
  /** One of several, of which this one is chosen. */
  checked?: boolean;
}

export interface MenuProps {
  /** Read aloud, and shown on hover where the button has no text. */
  label: string;
  icon?: IconName;
  /** What stands on the button. */
  children?: ComponentChildren;
  items: readonly (MenuItem | "line")[];
  /** Above the items, for instance who it is about. */
  head?: ComponentChildren;
  kind?: "plain" | "quiet";
  small?: boolean;
  disabled?: boolean;
  fd?: string;
}

/** Pixels between the button and the list, and between the list and the window's edge. */
const GAP = 4;
const EDGE = 8;

export function Menu({ label, icon = "more", children, items, head, kind = "plain", small, disabled, fd }: MenuProps) {
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);
  const id = useId();
  // A press on the button closes an open list before the click comes.
  const wasOpen = useRef(false);

  const entries = () => [...(list.current?.querySelectorAll<HTMLElement>("[role^=menuitem]:not([aria-disabled])") ?? [])];

  function show(last = false): void {
    const [from, menu] = [button.current, list.current];
    if (!from || !menu) return;
    menu.showPopover();
    place(from, menu);
    entries().at(last ? -1 : 0)?.focus();
  }

  function close(): void {
    list.current?.hidePopover();
    button.current?.focus();
  }

  function keys(event: KeyboardEvent): void {
    const all = entries();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const moves: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    const typed = event.key.length === 1 ? event.key.toLowerCase() : "";
    const found = typed && [...all.slice(at + 1), ...all].find((each) => each.textContent?.trim().toLowerCase().startsWith(typed));
    const next = moves[event.key];
    if (event.key === "Tab") close();
    else if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (next !== undefined) all.at(next % all.length)?.focus();
    else if (found) found.focus();
    else return;
    if (event.key !== "Tab") event.preventDefault();
  }

  return (
    <span class="menu">
      <button
        ref={button}
        type="button"
        class={`button ${kind}${small ? " small" : ""}${children ? "" : " alone"}`}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={id}
        aria-label={children ? undefined : label}
        title={children ? undefined : label}
        disabled={disabled}
        onPointerDown={() => {
          wasOpen.current = open;
        }}
        onClick={() => {
          if (!wasOpen.current) show();
          wasOpen.current = false;
        }}
        onKeyDown={(event) => {
          if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
          event.preventDefault();
          show(event.key === "ArrowUp");
        }}
        data-fd={fd ?? "menu"}
      >
        {children ?? <Icon name={icon} size={small ? 16 : 18} />}
      </button>
      <div
        ref={list}
        id={id}
        class="menu-list"
        popover="auto"
        role="menu"
        aria-label={label}
        tabIndex={-1}
        onToggle={(event) => setOpen((event as unknown as ToggleEvent).newState === "open")}
        onKeyDown={keys}
      >
        {head && <div class="menu-head">{head}</div>}
        {items.map((item, i) =>
          item === "line" ? <hr key={i} role="separator" /> : <Entry key={i} item={item} close={close} />,
        )}
      </div>
    </span>
  );
}

function Entry({ item, close }: { item: MenuItem; close: () => void }) {
  const { label, icon, onSelect, to, danger, disabled, checked } = item;
  const inside = (
    <>
      {checked !== undefined ? <span class="menu-check">{checked && <Icon name="check" size={16} />}</span> : icon && <Icon name={icon} size={16} />}
      <span dir="auto">{label}</span>
    </>
  );
  const look = `menu-item${danger ? " danger" : ""}`;
  if (to !== undefined && !disabled) {
    return (
      <span role="none" class="menu-link">
        <Link to={to} class={look} role="menuitem" onClick={close}>
          {inside}
        </Link>
      </span>
    );
  }
  return (
    <button
      type="button"
      role={checked === undefined ? "menuitem" : "menuitemradio"}
      class={look}
      tabIndex={-1}
      aria-checked={checked}
      aria-disabled={disabled || undefined}
      onClick={() => {
        if (disabled) return;
        close();
        onSelect?.();
      }}
    >
      {inside}
    </button>
  );
}

/** Below the button, or above it where there is more room, within the window. */
function place(from: HTMLElement, menu: HTMLElement): void {
  const box = from.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const rtl = getComputedStyle(from).direction === "rtl";
  // Its start at the button's start, unless it would leave the window there.
  const start = rtl ? box.right - width : box.left;
  const end = rtl ? box.left : box.right - width;
  const fits = (x: number) => x >= EDGE && x + width <= innerWidth - EDGE;
  const left = fits(start) ? start : Math.max(EDGE, Math.min(end, innerWidth - width - EDGE));
  const below = box.bottom + GAP;
  const top = below + height <= innerHeight - EDGE ? below : Math.max(EDGE, box.top - GAP - height);
  menu.style.left = `${left}px`;
  menu.style.top = `${top}px`;
}
