/** The colours of states. */

import type { CaseVerdict, PlaygroundTurn, RunRow } from "../core/api.gen.ts";
import type { Tone } from "../ui/show.tsx";

export const TURN_TONES: Record<PlaygroundTurn["status"], Tone> = { queued: "neutral", running: "accent", done: "good", failed: "bad", stopped: "warn" };
export const CASE_TONES: Record<CaseVerdict["status"], Tone> = { waiting: "neutral", running: "accent", passed: "good", failed: "bad" };
export const RUN_TONES: Record<RunRow["status"], Tone> = { running: "accent", done: "good", interrupted: "warn" };
