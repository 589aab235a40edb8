/** What is shown: marks, empty and loading places, errors, people. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { ApiError } from "../core/api.ts";
import { shown } from "../core/keys.ts";
import type { Resource } from "../core/resource.ts";
import { Button } from "./button.tsx";
import { Icon, type IconName } from "./icon.tsx";
import { own } from "./values.tsx";

export type Tone = "neutral" | "accent" | "good" | "warn" | "bad";

export function Badge({ tone = "neutral", dot, children, title, fd }: { tone?: Tone; dot?: boolean; children: ComponentChildren; title?: string; fd?: string }) {
  return (
    <span class={`badge tone-${tone}`} title={title} data-fd={fd}>
      {dot && <span class="dot" aria-hidden="true" />}
      {children}
    </span>
  );
}

export interface EmptyProps {
  icon?: IconName;
  title: string;
  children?: ComponentChildren;
  action?: ComponentChildren;
  fd?: string;
}

/** There is nothing here: why, and what to do. */
export function Empty({ icon, title, children, action, fd }: EmptyProps) {
  return (
    <div class="empty" data-fd={fd ?? "empty"}>
      {icon && <Icon name={icon} size={28} />}
      <h2>{title}</h2>
      {children && <p>{own(children)}</p>}
      {action}
    </div>
  );
}

export function Spinner({ label = "Loading" }: { label?: string }) {
  return <span class="spin" role="status" aria-label={label} />;
}

/** The place of what is loading: `lines` of text, `rows` of a table, or one block `block` CSS pixels high. */
export function Skeleton({ lines = 3, rows, block }: { lines?: number; rows?: number; block?: number }) {
  const n = block ? 1 : (rows ?? lines);
  return (
    <div class={`skeleton${rows ? " rows" : ""}`} role="status" aria-label="Loading" data-fd="loading">
      {Array.from({ length: n }, (_, i) => (
        <span key={i} style={block ? { height: `${block}px` } : { width: rows ? "100%" : `${[92, 78, 85, 64][i % 4]!}%` }} />
      ))}
    </div>
  );
}

export interface NoticeProps {
  tone?: Tone;
  title?: string;
  children?: ComponentChildren;
  action?: ComponentChildren;
  fd?: string;
}

const SIGNS: Partial<Record<Tone, IconName>> = { good: "check", warn: "warn", bad: "warn" };

/** Something to know, within the page. */
export function Notice({ tone = "neutral", title, children, action, fd }: NoticeProps) {
  return (
    <div class={`notice tone-${tone}`} role={tone === "bad" ? "alert" : "status"} data-fd={fd}>
      <Icon name={SIGNS[tone] ?? "info"} />
      <div class="notice-text">
        {title && <strong>{title}</strong>}
        {children && <div>{own(children)}</div>}
      </div>
      {action}
    </div>
  );
}

/** What went wrong, with the request's id for whoever looks into the log. */
export function ErrorBox({ error, onRetry, title, fd }: { error: ApiError | string; onRetry?: () => void; title?: string; fd?: string }) {
  const told = typeof error === "string" ? { message: error, request_id: null } : error;
  const action = onRetry && (
    <Button small icon="refresh" onClick={() => onRetry()} fd="retry">
      Try again
    </Button>
  );
  return (
    <Notice tone="bad" title={title} action={action} fd={fd ?? "error"}>
      <span dir="auto">{told.message}</span>
      {told.request_id && <small class="request-id">Request {told.request_id}</small>}
    </Notice>
  );
}

/** A resource in all its states. */
export function Load<T>({ from, children, skeleton }: { from: Resource<T>; children: (value: T) => ComponentChildren; skeleton?: ComponentChildren }) {
  const { value, error, reload } = from;
  const failed = error && <ErrorBox error={error} onRetry={() => void reload()} />;
  if (value === undefined) return <>{failed ?? skeleton ?? <Skeleton />}</>;
  return (
    <>
      {failed}
      {children(value)}
    </>
  );
}

/** Only from our own origin: the page's policy loads no other pictures, and nobody's address is told elsewhere. */
const isOwn = (url: string): boolean => url.startsWith("data:image/") || new URL(url, location.href).origin === location.origin;

function initials(name: string): string {
  const words = name.trim().split(/[\s._-]+/).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0]!.toUpperCase()).join("") || "?";
}

export function Avatar({ name, url, size = 28, online }: { name: string; url?: string | null; size?: number; online?: boolean }) {
  const [broken, setBroken] = useState(false);
  const px = `${size}px`;
  const picture = url && !broken && URL.canParse(url, location.href) && isOwn(url) ? url : null;
  return (
    <span class="avatar" style={{ width: px, height: px, fontSize: `${Math.round(size * 0.4)}px` }} title={name}>
      {picture ? <img src={picture} alt="" onError={() => setBroken(true)} /> : <span aria-hidden="true">{initials(name)}</span>}
      {online !== undefined && <span class={`presence${online ? " on" : ""}`} role="img" aria-label={online ? "online" : "away"} />}
    </span>
  );
}

/** How much of a limit is used. */
export function Meter({ value, limit, label }: { value: number; limit: number; label: string }) {
  const share = limit > 0 ? Math.min(1, value / limit) : 0;
  const tone = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "accent";
  return (
    <div class={`meter tone-${tone}`} role="meter" aria-label={label} aria-valuenow={value} aria-valuemin={0} aria-valuemax={limit}>
      <span style={{ width: `${share * 100}%` }} />
    </div>
  );
}

/** Keys of a shortcut, such as `Mod+Enter`. */
export function Kbd({ keys }: { keys: string }) {
  return (
    <span class="keys">
      {shown(keys).map((key, i) => (
        <kbd key={i}>{key}</kbd>
      ))}
    </span>
  );
}

/** Text from a visitor, a model or a tool: in a direction of its own that does not leak into ours. */
export function Foreign({ text, class: look }: { text: string; class?: string }) {
  return (
    <bdi dir="auto" class={look}>
      {text}
    </bdi>
  );
}
