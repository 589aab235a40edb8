/** What runs, and how well. Asked anew every few seconds while somebody looks. */

import type { DoctorReport, Operations as Told } from "../core/api.gen.ts";
import { get } from "../core/api.ts";
import { useEvery, useResource } from "../core/resource.ts";
import { Button } from "../ui/button.tsx";
import { Page, Section } from "../ui/page.tsx";
import { Load, Skeleton } from "../ui/show.tsx";
import { Doctor } from "./doctor.tsx";
import { Instances } from "./instances.tsx";
import { ModelTable } from "./models.tsx";
import { Retention } from "./retention.tsx";
import { Stores } from "./stores.tsx";
import { Turns } from "./turns.tsx";
import { words } from "./words.ts";

/** Milliseconds between two looks. */
const EVERY = 5000;
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium" });

export default function Operations() {
  const now = useResource<Told>("/operations");
  useEvery(EVERY, () => void now.reload());
  const subtitle = now.value ? words.asOf(clock.format(Date.parse(now.value.at))) : words.subtitle;
  return (
    <Page
      title={words.title}
      subtitle={subtitle}
      actions={
        <Button icon="refresh" onClick={() => void now.reload()} fd="refresh">
          {words.refresh}
        </Button>
      }
    >
      <Load from={now} skeleton={<Waiting />}>
        {(told) => (
          <>
            <Turns turns={told.turns} />
            <Instances instances={told.instances} />
            <Stores postgres={told.postgres} redis={told.redis} />
            <ModelTable models={told.models} window_s={told.window_s} />
            <Retention retention={told.retention} />
          </>
        )}
      </Load>
      <Doctor hint={words.doctor.hint} examine={() => get<DoctorReport>("/doctor")} />
    </Page>
  );
}

function Waiting() {
  return (
    <>
      {[words.turns, words.instances, words.stores, words.models].map((title) => (
        <Section key={title} title={title}>
          <Skeleton lines={3} />
        </Section>
      ))}
    </>
  );
}
