/** What a page is made of: its head, cards, figures, rows of things. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useTitle } from "../core/status.ts";
import { Link, router } from "../router.ts";
import { Icon } from "./icon.tsx";
import { Figure, own } from "./values.tsx";

export interface PageViewProps {
  title: string;
  subtitle?: ComponentChildren;
  back?: { to: string; label: string };
  actions?: ComponentChildren;
  /** Beside the title. */
  badge?: ComponentChildren;
  /** As wide as the window. */
  wide?: boolean;
  /** As high as the window: its parts scroll by themselves. The title is only read aloud. */
  fill?: boolean;
  children?: ComponentChildren;
  fd?: string;
}

export function Page({ title, subtitle, back, actions, badge, wide, fill, children, fd }: PageViewProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useTitle(title);
  useEffect(() => {
    // After a move within the console the reader is at the page's head, as after loading it.
    if (router.moves() > 0) heading.current?.focus({ preventScroll: true });
  }, []);
  if (fill) {
    return (
      <div class="page fill" data-fd={fd ?? "page"}>
        <h1 ref={heading} class="unseen" tabIndex={-1}>
          {title}
        </h1>
        {children}
      </div>
    );
  }
  return (
    <div class={`page${wide ? " wide" : ""}`} data-fd={fd ?? "page"}>
      <header class="page-head">
        <div class="page-names">
          {back && (
            <Link to={back.to} class="page-back">
              <Icon name="back" size={16} />
              {back.label}
            </Link>
          )}
          <div class="page-title">
            <h1 ref={heading} tabIndex={-1} dir="auto">
              {title}
            </h1>
            {badge}
          </div>
          {subtitle && <p class="page-subtitle">{own(subtitle)}</p>}
        </div>
        {actions && <div class="page-actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

export interface SectionProps {
  title?: string;
  hint?: ComponentChildren;
  actions?: ComponentChildren;
  /** What is in it cannot be undone. */
  danger?: boolean;
  /** Its content reaches the edges, as a table does. */
  flush?: boolean;
  children?: ComponentChildren;
  fd?: string;
}

/** A card. */
export function Section({ title, hint, actions, danger, flush, children, fd }: SectionProps) {
  return (
    <section class={`card${danger ? " danger" : ""}${flush ? " flush" : ""}`} aria-label={title} data-fd={fd}>
      {(title || actions) && (
        <header class="card-head">
          <div>
            {title && <h2>{own(title)}</h2>}
            {hint && <p class="hint">{own(hint)}</p>}
          </div>
          {actions && <div class="card-actions">{actions}</div>}
        </header>
      )}
      <div class="card-body">{children}</div>
    </section>
  );
}

/** As many columns as fit, of at least `min` CSS pixels. */
export function Grid({ children, min = 260 }: { children: ComponentChildren; min?: number }) {
  return (
    <div class="grid" style={{ "--min": `${min}px` }}>
      {children}
    </div>
  );
}

export interface StatProps {
  label: string;
  value: ComponentChildren;
  hint?: ComponentChildren;
  tone?: "good" | "warn" | "bad";
  fd?: string;
}

/** One figure. */
export function Stat({ label, value, hint, tone, fd }: StatProps) {
  return (
    <div class="stat" data-fd={fd}>
      <div class="stat-label">{label}</div>
      <div class={`stat-value${tone ? ` tone-${tone}` : ""}`}>{typeof value === "string" || typeof value === "number" ? <Figure>{value}</Figure> : value}</div>
      {hint && <div class="stat-hint">{own(hint)}</div>}
    </div>
  );
}

/** Things beside each other; `end` at the end of the line, `wrap` in as many lines as it takes. */
export function Row({ children, end, wrap = true }: { children: ComponentChildren; end?: boolean; wrap?: boolean }) {
  return <div class={`row${end ? " end" : ""}${wrap ? " wrap" : ""}`}>{children}</div>;
}

/** Names and their values. */
export function Facts({ rows, fd }: { rows: readonly (readonly [string, ComponentChildren])[]; fd?: string }) {
  return (
    <dl class="facts" data-fd={fd}>
      {rows.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
