/** A client's first tab: what it used, its limits, what the doctor finds, its settings. */

import type { ClientDetail, DoctorReport, Plans } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { type Resource, useResource } from "../core/resource.ts";
import { may } from "../core/session.ts";
import { Doctor } from "../operations/doctor.tsx";
import type { PageProps } from "../router.ts";
import { Select } from "../ui/choice.tsx";
import { TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Section } from "../ui/page.tsx";
import { Notice } from "../ui/show.tsx";
import { Limits } from "../usage/limits.tsx";
import { useClientForm } from "./edit.ts";
import { ClientFrame } from "./frame.tsx";
import { Month } from "./month.tsx";
import { planOptions } from "./plans.ts";
import { Standing } from "./standing.tsx";
import { words } from "./words.ts";

const { overview } = words;

export default function Client({ params }: PageProps<"/clients/:client_id">) {
  const { client_id } = params;
  return (
    <ClientFrame key={client_id} client_id={client_id} tab="overview">
      {(client, resource) => (
        <>
          {client.status === "suspended" && (
            <Notice tone="warn" title={overview.suspendedNow.title}>
              {overview.suspendedNow.text}
            </Notice>
          )}
          {client.ignored.length > 0 && (
            <Notice tone="warn">
              {overview.ignored} <code>{client.ignored.join(", ")}</code>
            </Notice>
          )}
          <Month client={client} />
          <Section title={overview.limits} flush>
            <Limits client_id={client_id} />
          </Section>
          <Doctor hint={overview.doctorHint} examine={() => post<DoctorReport>(`/clients/${client_id}/doctor`)} />
          <Settings client={client} resource={resource} />
          <Standing client={client} resource={resource} />
        </>
      )}
    </ClientFrame>
  );
}

function Settings({ client, resource }: { client: ClientDetail; resource: Resource<ClientDetail> }) {
  const form = useClientForm(client, resource);
  const owner = may("owner");
  const plans = useResource<Plans>("/plans");
  const options = plans.value ? planOptions(plans.value) : [];
  return (
    <FormView form={form} quiet fd="settings">
      <Section title={overview.settings}>
        <TextInput {...form.field("name")} label={overview.name} required maxLength={100} />
        <TextInput {...form.field("domain")} label={overview.domain} required dir="ltr" maxLength={253} />
        <Select {...form.field("plan")} label={overview.plan} options={options} disabled={!owner} hint={owner ? undefined : overview.planOwner} />
        <TextInput {...form.field("timezone")} label={overview.timezone} hint={overview.timezoneHint} dir="ltr" maxLength={64} />
      </Section>
    </FormView>
  );
}
