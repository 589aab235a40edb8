/** The doctor's findings in the order in which somebody should read them. */

import type { Finding } from "../core/api.gen.ts";

const ORDER: readonly Finding["status"][] = ["error", "warning", "ok"];

/** What needs doing stands first; within that, in the doctor's own order. */
export const sorted = (findings: readonly Finding[]): Finding[] => ORDER.flatMap((status) => findings.filter((each) => each.status === status));

export const howMany = (findings: readonly Finding[], status: Finding["status"]): number =>
  findings.filter((each) => each.status === status).length;
