/** A long list of which only the rows in sight are in the document. All rows are equally high. */

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

export interface VirtualListProps<T> {
  label: string;
  items: readonly T[];
  keyOf: (item: T) => string | number;
  /** CSS pixels. */
  rowHeight: number;
  render: (item: T, index: number) => ComponentChildren;
  /** The end is near: there may be more to load. Called again when the list has grown. */
  onEnd?: () => void;
  /** The key of a row that is kept in sight. */
  active?: string | number | null;
  class?: string;
  /** After the last row. */
  footer?: ComponentChildren;
  fd?: string;
}

/** Rows drawn beyond what is in sight, on each side. */
const BEYOND = 8;
/** Rows before the end at which more is asked for. */
const NEAR_END = 20;

export interface Span {
  first: number;
  /** Not one of them. */
  end: number;
}

/** Which rows to draw. */
export function span(scrolled: number, height: number, rowHeight: number, count: number): Span {
  const first = Math.max(0, Math.floor(scrolled / rowHeight) - BEYOND);
  return { first: Math.min(first, Math.max(0, count - 1)), end: Math.min(count, Math.ceil((scrolled + height) / rowHeight) + BEYOND) };
}

export function VirtualList<T>({ label, items, keyOf, rowHeight, render, onEnd, active, class: look, footer, fd }: VirtualListProps<T>) {
  const place = useRef<HTMLDivElement>(null);
  const [{ first, end }, setSpan] = useState<Span>({ first: 0, end: 30 });
  // The row at the top of what is in sight, and where it was: it stays there when rows come in above it.
  const anchor = useRef<{ key: string | number; index: number } | null>(null);
  const askedAt = useRef(-1);

  const look_ = () => {
    const element = place.current;
    if (!element) return;
    const now = span(element.scrollTop, element.clientHeight, rowHeight, items.length);
    setSpan((old) => (old.first === now.first && old.end === now.end ? old : now));
    const index = Math.floor(element.scrollTop / rowHeight);
    const top = items[index];
    // At the very top one wants to see what is new.
    anchor.current = element.scrollTop > 0 && top !== undefined ? { key: keyOf(top), index } : null;
    const last = Math.ceil((element.scrollTop + element.clientHeight) / rowHeight);
    if (onEnd && last + NEAR_END >= items.length && askedAt.current !== items.length) {
      askedAt.current = items.length;
      onEnd();
    }
  };

  useLayoutEffect(() => {
    const element = place.current;
    const was = anchor.current;
    if (element && was) {
      const index = items.findIndex((item) => keyOf(item) === was.key);
      if (index >= 0 && index !== was.index) element.scrollTop += (index - was.index) * rowHeight;
    }
    look_();
  }, [items, rowHeight]);

  useLayoutEffect(() => {
    const element = place.current;
    const index = active === null || active === undefined ? -1 : items.findIndex((item) => keyOf(item) === active);
    if (!element || index < 0) return;
    const top = index * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + element.clientHeight) element.scrollTop = top + rowHeight - element.clientHeight;
  }, [active]);

  const latest = useRef(look_);
  latest.current = look_;
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const resized = new ResizeObserver(() => latest.current());
    resized.observe(element);
    return () => resized.disconnect();
  }, []);

  return (
    <div ref={place} class={`virtual${look ? ` ${look}` : ""}`} onScroll={look_} data-fd={fd}>
      <div role="list" aria-label={label} class="virtual-rows" style={{ height: `${items.length * rowHeight}px` }}>
        {items.slice(first, end).map((item, i) => (
          <div
            key={keyOf(item)}
            role="listitem"
            aria-setsize={items.length}
            aria-posinset={first + i + 1}
            class="virtual-row"
            style={{ height: `${rowHeight}px`, transform: `translateY(${(first + i) * rowHeight}px)` }}
          >
            {render(item, first + i)}
          </div>
        ))}
      </div>
      {footer}
    </div>
  );
}
