/** Code and JSON, and copying them. */

import { useEffect, useRef, useState } from "preact/hooks";
import { toast } from "./toast.tsx";
import { Button } from "./button.tsx";

/** Puts a value into the clipboard; says so for a moment. */
export function Copy({ value, label, small = true, fd }: { value: string; label?: string; small?: boolean; fd?: string }) {
  const [done, setDone] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      return toast("The browser did not allow it: mark the text and copy it yourself.", { tone: "bad" });
    }
    setDone(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setDone(false), 1600);
  };
  return (
    <Button kind="quiet" small={small} icon={done ? "check" : "copy"} label={label ?? "Copy"} onClick={() => void copy()} fd={fd ?? "copy"}>
      {label ? (done ? "Copied" : label) : undefined}
    </Button>
  );
}

/** A value to be copied, in one line that can be marked. */
export function CopyField({ label, value, fd }: { label: string; value: string; fd?: string }) {
  return (
    <div class="copy-field" data-fd={fd}>
      <span class="label">{label}</span>
      <div class="copy-value" dir="ltr">
        <code tabIndex={0} aria-label={label}>
          {value}
        </code>
        <Copy value={value} label="Copy" />
      </div>
    </div>
  );
}

export interface CodeProps {
  text: string;
  /** Breaks long lines rather than scrolling. */
  wrap?: boolean;
  copy?: boolean;
  label?: string;
  fd?: string;
}

export function Code({ text, wrap, copy = true, label, fd }: CodeProps) {
  return (
    <div class={`code${wrap ? " wrap" : ""}`} dir="ltr" data-fd={fd}>
      <pre tabIndex={0} aria-label={label ?? "Code"}>
        <code>{text}</code>
      </pre>
      {copy && <Copy value={text} />}
    </div>
  );
}

/** A value as a tree whose branches fold. */
export function Json({ value, label, open = 2, fd }: { value: unknown; label?: string; open?: number; fd?: string }) {
  return (
    <div class="code json" dir="ltr" data-fd={fd}>
      <div class="json-tree" role="group" aria-label={label ?? "JSON"}>
        <Branch value={value} open={open} />
      </div>
      <Copy value={JSON.stringify(value, null, 2) ?? "undefined"} />
    </div>
  );
}

function Branch({ name, value, open }: { name?: string; value: unknown; open: number }) {
  const head = name !== undefined && <span class="json-name">{name}: </span>;
  if (typeof value !== "object" || value === null) {
    return (
      <div class="json-leaf">
        {head}
        <Leaf value={value} />
      </div>
    );
  }
  const entries = Object.entries(value);
  const list = Array.isArray(value);
  const sign = list ? `[${entries.length}]` : `{${entries.length}}`;
  if (!entries.length) {
    return (
      <div class="json-leaf">
        {head}
        <span class="json-sign">{list ? "[]" : "{}"}</span>
      </div>
    );
  }
  return (
    <details class="json-branch" open={open > 0}>
      <summary>
        {head}
        <span class="json-sign">{sign}</span>
      </summary>
      {entries.map(([key, each]) => (
        <Branch key={key} name={key} value={each} open={open - 1} />
      ))}
    </details>
  );
}

function Leaf({ value }: { value: unknown }) {
  if (typeof value === "string") {
    return (
      <bdi dir="auto" class="json-text">
        {JSON.stringify(value)}
      </bdi>
    );
  }
  return <span class={value === null ? "json-null" : "json-value"}>{String(value)}</span>;
}
