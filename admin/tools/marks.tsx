/** What a tool may do and who may use it, in a few words. */

import { Badge } from "../ui/show.tsx";
import type { Effect, Proof } from "./kinds.ts";
import { words } from "./words.ts";

const TONES = { read_only: "neutral", idempotent: "accent", unsafe: "warn" } as const;

export const EffectMark = ({ effect }: { effect: Effect }) => (
  <Badge tone={TONES[effect]} title={words.effects[effect]}>
    {words.effectShort[effect]}
  </Badge>
);

export const ProofMark = ({ proof, confirm }: { proof: Proof; confirm: boolean }) => (
  <span class="tools-marks">
    <Badge title={words.proofs[proof]}>{words.proofShort[proof]}</Badge>
    {confirm && (
      <Badge tone="accent" title={words.confirmHint}>
        {words.confirmShort}
      </Badge>
    )}
  </span>
);
