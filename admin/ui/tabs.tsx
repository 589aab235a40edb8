/** Tabs. With `to` each is a page of its own, and they are links; without, they switch what stands below. */

import type { ComponentChildren } from "preact";
import { Link } from "../router.ts";

export interface Tab {
  id: string;
  label: string;
  badge?: ComponentChildren;
  to?: string;
}

export interface TabsProps {
  label: string;
  tabs: readonly Tab[];
  value: string;
  onChange?: (id: string) => void;
  fd?: string;
}

export function Tabs({ label, tabs, value, onChange, fd }: TabsProps) {
  if (tabs.some((tab) => tab.to !== undefined)) {
    return (
      <nav class="tabs" aria-label={label} data-fd={fd ?? "tabs"}>
        {tabs.map((tab) => (
          <Link key={tab.id} to={tab.to ?? ""} class="tab" current={tab.id === value} fd={`tab-${tab.id}`}>
            <Inside {...tab} />
          </Link>
        ))}
      </nav>
    );
  }
  const move = (event: KeyboardEvent) => {
    const rtl = getComputedStyle(event.currentTarget as Element).direction === "rtl";
    const steps: Record<string, number> = { ArrowRight: rtl ? -1 : 1, ArrowLeft: rtl ? 1 : -1 };
    const at = tabs.findIndex((tab) => tab.id === value);
    const step = steps[event.key];
    const next = event.key === "Home" ? 0 : event.key === "End" ? tabs.length - 1 : step ? (at + step + tabs.length) % tabs.length : -1;
    const tab = tabs[next];
    if (!tab) return;
    event.preventDefault();
    onChange?.(tab.id);
    (event.currentTarget as Element).querySelectorAll<HTMLElement>("[role=tab]")[next]?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move} data-fd={fd ?? "tabs"}>
      {tabs.map((tab) => (
        <button
          key={tab.id}
          type="button"
          role="tab"
          class="tab"
          aria-selected={tab.id === value}
          tabIndex={tab.id === value ? 0 : -1}
          onClick={() => onChange?.(tab.id)}
          data-fd={`tab-${tab.id}`}
        >
          <Inside {...tab} />
        </button>
      ))}
    </div>
  );
}

const Inside = ({ label, badge }: Tab) => (
  <>
    {label}
    {badge !== undefined && badge !== null && <span class="tab-badge">{badge}</span>}
  </>
);
