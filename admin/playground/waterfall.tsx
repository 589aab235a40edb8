/** Where the time of a turn went. */

import type { TurnTruth } from "../core/api.gen.ts";
import { Foreign } from "../ui/show.tsx";
import { Duration } from "../ui/values.tsx";
import { barsOf } from "./bars.ts";
import { words } from "./words.ts";

const { truth: said } = words;

export function Waterfall({ truth: { spans, ms, created_at } }: { truth: TurnTruth }) {
  const now = ms ?? Math.max(0, Date.now() - Date.parse(created_at));
  return (
    <table class="play-waterfall" aria-label={said.waterfall} data-fd="waterfall">
      <tbody>
        {barsOf(spans, now).map(({ span, start, width }, at) => (
          <tr key={at}>
            <th scope="row">
              {said.spans[span.kind]}
              {span.name && span.kind !== "preparing" && span.kind !== "writing" && (
                <small class="hint">
                  <Foreign text={span.name} />
                </small>
              )}
            </th>
            <td class="play-track">
              <span class={`play-bar ${span.kind}${span.ok === false ? " bad" : ""}`} style={{ insetInlineStart: `min(${start}%, 100% - 2px)`, width: `${width}%` }} />
            </td>
            <td class="end">{span.ms === null ? said.running : <Duration ms={span.ms} />}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
