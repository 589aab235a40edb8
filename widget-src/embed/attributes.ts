/** What the script tag says. */

import type { Update } from "./settings.ts";

export interface Attributes {
  key: string;
  api: string;
  nonce: string;
  open: boolean;
  inline: boolean;
  target: string | undefined;
  update: Update;
}

/** The part of a script element that is read. */
export type Tag = Pick<HTMLScriptElement, "src" | "nonce" | "dataset">;

/** Throws an Error with a sentence where the tag cannot work. */
export function readTag({ src, nonce, dataset }: Tag): Attributes {
  const { clientKey, locale, position, open, api, mode = "bubble", target } = dataset;
  if (!clientKey?.startsWith("pk_")) throw new Error("data-client-key wants pk_...");
  const inline = mode === "inline";
  if (inline ? !target : mode !== "bubble") throw new Error("data-mode wants bubble or inline, with data-target");
  return {
    key: clientKey,
    api: api ? api.replace(/\/+$/, "") : new URL(src).origin,
    nonce: dataset.nonce || nonce || "",
    open: open !== undefined && open !== "false",
    inline,
    target,
    update: { locale, position: position as Update["position"] },
  };
}
