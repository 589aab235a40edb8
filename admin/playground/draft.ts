/** The draft of the playground as its form has it. */

import type { ClientDetail, PlaygroundDraft, ToolsOfClient } from "../core/api.gen.ts";
import { same } from "../core/differ.ts";
import { type Model, modelOf } from "../clients/edit.ts";

export interface Draft {
  system_prompt: string;
  model: Model;
  /** Names of the tools that are on. */
  tools: string[];
}

/** What visitors are answered with. */
export const savedDraft = (client: ClientDetail, tools: ToolsOfClient): Draft => ({
  system_prompt: client.system_prompt,
  model: modelOf(client.model),
  tools: tools.rows.filter(({ enabled }) => enabled).map(({ tool_name }) => tool_name),
});

/** What is as it is saved stays null, so that it follows what is saved later. */
export function sentDraft(draft: Draft, saved: Draft): PlaygroundDraft {
  const own = <K extends keyof Draft>(name: K): Draft[K] | null => (same(draft[name], saved[name]) ? null : draft[name]);
  return { system_prompt: own("system_prompt"), model: own("model"), tools: own("tools") };
}
