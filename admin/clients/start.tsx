/** A new client's first page: keys, code for the website, and whether the widget is seen there. */

import { useEffect, useState } from "preact/hooks";
import type { ClientDetail, EmbedCode } from "../core/api.gen.ts";
import { useResource } from "../core/resource.ts";
import type { PageProps } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { Code, CopyField } from "../ui/code.tsx";
import { Page, Row, Section } from "../ui/page.tsx";
import { Load, Notice } from "../ui/show.tsx";
import { created } from "./created.ts";
import { Sightings } from "./script.tsx";
import { words } from "./words.ts";

const { start } = words;

export default function Start({ params }: PageProps<"/clients/:client_id/start">) {
  const { client_id } = params;
  const client = useResource<ClientDetail>(`/clients/${client_id}`);
  const embed = useResource<EmbedCode>(`/clients/${client_id}/embed`);
  return (
    <Page title={client.value ? start.title(client.value.name) : words.client} subtitle={start.subtitle} back={{ to: "/clients", label: words.title }}>
      <Load from={client}>{(value) => <Keys client={value} />}</Load>
      <Section title={start.embed} hint={start.embedHint}>
        <Load from={embed}>{({ script }) => <Code text={script} wrap label={words.origins.embed} fd="embed" />}</Load>
      </Section>
      <Section title={start.check}>
        <Sightings client_id={client_id} />
      </Section>
      <Section title={start.next}>
        <Row>
          <Button icon="edit" to={`/clients/${client_id}/looks`}>
            {start.looks}
          </Button>
          <Button icon="note" to={`/clients/${client_id}/assistant`}>
            {start.assistant}
          </Button>
          <Button kind="quiet" to={`/clients/${client_id}`}>
            {start.open}
          </Button>
        </Row>
      </Section>
    </Page>
  );
}

/** The secret leaves the memory with this page. */
function Keys({ client }: { client: ClientDetail }) {
  const [api_key] = useState(() => {
    const made = created.get();
    return made?.client.id === client.id ? made.api_key : null;
  });
  useEffect(() => () => created.set(null), []);
  return (
    <Section title={start.keys} hint={start.keysHint}>
      {api_key ? (
        <>
          <Notice tone="warn" title={start.once.title}>
            {start.once.text}
          </Notice>
          <CopyField label={start.apiKey} value={api_key} fd="api-key" />
        </>
      ) : (
        <p class="hint">{start.gone}</p>
      )}
      <CopyField label={start.publicKey} value={client.public_key} fd="public-key" />
    </Section>
  );
}
