/** What somebody said, under who it was: a model's text through the one renderer, a visitor's as it is. */

import { Markdown } from "../../widget-src/markdown/markdown.tsx";
import { Foreign } from "../ui/show.tsx";
import { words } from "./words.ts";

export function Said({ title, text, plain, fd }: { title: string; text: string | null; plain?: boolean; fd?: string }) {
  return (
    <div class="play-said" data-fd={fd}>
      <h3>{title}</h3>
      {text === null ? (
        <span class="hint">{words.run.noAnswer}</span>
      ) : plain ? (
        <Foreign text={text} class="play-plain" />
      ) : (
        <div dir="auto">
          <Markdown text={text} />
        </div>
      )}
    </div>
  );
}
