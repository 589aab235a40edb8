/** The doctor: what is wrong, and what to do. Only when called, for it asks models and clients' systems. */

import { useState } from "preact/hooks";
import type { DoctorReport, Finding } from "../core/api.gen.ts";
import { useAction } from "../core/resource.ts";
import { Button } from "../ui/button.tsx";
import { Icon, type IconName } from "../ui/icon.tsx";
import { Section } from "../ui/page.tsx";
import { Badge, ErrorBox, Foreign, Skeleton, type Tone } from "../ui/show.tsx";
import { Duration, own, Time } from "../ui/values.tsx";
import { howMany, sorted } from "./findings.ts";
import { words } from "./words.ts";

const { doctor } = words;

const SIGNS: Record<Finding["status"], [IconName, Tone]> = { ok: ["check", "good"], warning: ["warn", "warn"], error: ["warn", "bad"] };

/** A button and what came of it. `examine` asks for the report. */
export function Doctor({ hint, examine }: { hint: string; examine: () => Promise<DoctorReport> }) {
  const [report, setReport] = useState<DoctorReport | null>(null);
  const check = useAction(async () => setReport(await examine()));
  const button = (
    <Button icon="play" busy={check.busy} onClick={() => void check.run()} fd="doctor">
      {report ? doctor.again : doctor.run}
    </Button>
  );
  return (
    <Section title={doctor.title} hint={hint} actions={button} fd="doctor-section">
      {check.error && <ErrorBox error={check.error} onRetry={() => void check.run()} />}
      {report ? <Findings report={report} /> : check.busy ? <Skeleton lines={4} /> : !check.error && <p class="hint">{doctor.not}</p>}
    </Section>
  );
}

function Verdict({ findings }: { findings: readonly Finding[] }) {
  const [bad, soso] = [howMany(findings, "error"), howMany(findings, "warning")];
  if (bad) return <Badge tone="bad">{own(doctor.bad(bad))}</Badge>;
  if (soso) return <Badge tone="warn">{own(doctor.soso(soso))}</Badge>;
  return <Badge tone="good">{doctor.well}</Badge>;
}

function Findings({ report }: { report: DoctorReport }) {
  return (
    <div class="operations-doctor" data-fd="findings">
      <p class="operations-verdict">
        <Verdict findings={report.findings} />
        <bdi class="hint">
          {doctor.when} <Time at={report.at} />
        </bdi>
      </p>
      <ul class="operations-findings">
        {sorted(report.findings).map((finding) => (
          <One key={finding.check} {...finding} />
        ))}
      </ul>
    </div>
  );
}

function One({ check, status, says, advice, ms }: Finding) {
  const [icon, tone] = SIGNS[status];
  return (
    <li class="operations-finding" data-fd="finding" data-status={status}>
      <span class={`operations-sign tone-${tone}`} role="img" aria-label={doctor.status[status]}>
        <Icon name={icon} size={16} />
      </span>
      <div>
        <strong>{check}</strong> <small class="hint">
          <Duration ms={ms} />
        </small>
        <div>
          <Foreign text={says} />
        </div>
        {advice && (
          <div class="operations-advice">
            <Foreign text={advice} />
          </div>
        )}
      </div>
    </li>
  );
}
