/** Tabs. With `to` each is a page of its own, and they are links; without, they switch what stands below. */

import type { ComponentChildren, RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
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

/** Where they do not fit beside each other, the chosen one is in sight. */
function useInSight(value: string) {
  const list = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const { current } = list;
    const chosen = current?.querySelector<HTMLElement>("[aria-current], [aria-selected=true]");
    if (!current || !chosen) return;
    const [around, box] = [current.getBoundingClientRect(), chosen.getBoundingClientRect()];
    current.scrollLeft += box.left + box.width / 2 - around.left - around.width / 2;
  }, [value]);
  return list;
}

export function Tabs({ label, tabs, value, onChange, fd }: TabsProps) {
  const list = useInSight(value);
  if (tabs.some((tab) => tab.to !== undefined)) {
    return (
      <nav ref={list} class="tabs" aria-label={label} data-fd={fd ?? "tabs"}>
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
    <div ref={list as RefObject<HTMLDivElement>} class="tabs" role="tablist" aria-label={label} onKeyDown={move} data-fd={fd ?? "tabs"}>
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
