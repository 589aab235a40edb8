/** Adds a client, and goes on to its first page. */

import { useEffect } from "preact/hooks";
import type { ClientCreate, ClientCreated, Plans } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { useForm } from "../core/form.ts";
import { useResource } from "../core/resource.ts";
import { useStore } from "../core/store.ts";
import { navigate } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { Select } from "../ui/choice.tsx";
import { LinesInput, TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Page, Row, Section } from "../ui/page.tsx";
import { Load } from "../ui/show.tsx";
import { created } from "./created.ts";
import { planOptions } from "./plans.ts";
import { words } from "./words.ts";

const { create } = words;

type Draft = Required<Omit<ClientCreate, "locale" | "allowed_origins">> & { allowed_origins: string[] };

const draft = (): Draft => ({
  name: "",
  domain: "",
  plan: "free",
  allowed_origins: [],
  timezone: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC",
});

export default function NewClient() {
  const plans = useResource<Plans>("/plans");
  return (
    <Page title={create.title} subtitle={create.subtitle} back={{ to: "/clients", label: words.title }}>
      <Load from={plans}>{(value) => <Form plans={value} />}</Load>
    </Page>
  );
}

function Form({ plans }: { plans: Plans }) {
  const form = useForm<Draft>({
    value: draft(),
    async save(value) {
      const { allowed_origins } = value;
      created.set(await post<ClientCreated>("/clients", { ...value, allowed_origins: allowed_origins.length ? allowed_origins : null }));
    },
    labels: words.labels,
  });
  const made = useStore(created);
  useEffect(() => {
    if (made) void navigate(`/clients/${made.client.id}/start`, { replace: true });
  }, [made]);
  return (
    <FormView form={form} bare fd="new-client-form">
      <Section>
        <TextInput {...form.field("name")} label={create.name} hint={create.nameHint} required autoFocus maxLength={100} />
        <TextInput {...form.field("domain")} label={create.domain} hint={create.domainHint} required dir="ltr" maxLength={253} />
        <Select {...form.field("plan")} label={create.plan} options={planOptions(plans)} />
        <LinesInput {...form.field("allowed_origins")} label={create.origin} hint={create.originHint} mono rows={1} />
        <Row end>
          <Button to="/clients">{create.cancel}</Button>
          <Button kind="primary" submit busy={form.saving} fd="create">
            {create.submit}
          </Button>
        </Row>
      </Section>
    </FormView>
  );
}
