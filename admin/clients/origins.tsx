/** Where a client's widget may run, the code that puts it there, and the keys. */

import type { ClientDetail, EmbedCode } from "../core/api.gen.ts";
import { type Resource, useResource } from "../core/resource.ts";
import type { PageProps } from "../router.ts";
import { Code } from "../ui/code.tsx";
import { LinesInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Section } from "../ui/page.tsx";
import { Load } from "../ui/show.tsx";
import { useClientForm } from "./edit.ts";
import { ClientFrame } from "./frame.tsx";
import { Keys } from "./keys.tsx";
import { Sightings } from "./script.tsx";
import { words } from "./words.ts";

const { origins } = words;

export default function Origins({ params }: PageProps<"/clients/:client_id/origins">) {
  const { client_id } = params;
  return (
    <ClientFrame key={client_id} client_id={client_id} tab="origins">
      {(client, resource) => (
        <>
          <Allowed client={client} resource={resource} />
          <Embed client_id={client_id} />
          <Keys client={client} resource={resource} />
        </>
      )}
    </ClientFrame>
  );
}

function Allowed({ client, resource }: { client: ClientDetail; resource: Resource<ClientDetail> }) {
  const form = useClientForm(client, resource);
  const { allowed_origins } = form.value;
  const allow = (origin: string) => {
    if (!allowed_origins.includes(origin)) form.set({ allowed_origins: [...allowed_origins, origin] });
  };
  return (
    <>
      <FormView form={form} quiet>
        <Section title={origins.allowed} hint={origins.allowedHint}>
          <LinesInput {...form.field("allowed_origins")} label={origins.field} mono placeholder={origins.placeholder} rows={3} fd="origins" />
        </Section>
      </FormView>
      <Section title={origins.seen} hint={origins.seenHint}>
        <Sightings client_id={String(client.id)} onAllow={allow} />
      </Section>
    </>
  );
}

function Embed({ client_id }: { client_id: string }) {
  const embed = useResource<EmbedCode>(`/clients/${client_id}/embed`);
  return (
    <Section title={origins.embed} hint={origins.embedHint}>
      <Load from={embed}>
        {({ script, inline, csp }) => (
          <>
            <Code text={script} wrap label={origins.embed} fd="embed" />
            <details class="clients-more">
              <summary>{origins.inline}</summary>
              <Code text={inline} wrap label={origins.inline} />
            </details>
            <details class="clients-more">
              <summary>{origins.csp}</summary>
              <Code text={csp.join("\n")} wrap label={origins.csp} />
            </details>
          </>
        )}
      </Load>
    </Section>
  );
}
