/** How a client's widget looks and greets, with a preview that follows each keystroke. */

import type { ClientDetail } from "../core/api.gen.ts";
import { type Fields, nullable } from "../core/form.ts";
import type { Resource } from "../core/resource.ts";
import type { PageProps } from "../router.ts";
import { Radios, Select } from "../ui/choice.tsx";
import { ColorInput, LinesInput, NumberInput, TextArea, TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Section } from "../ui/page.tsx";
import { useClientForm, type Widget } from "./edit.ts";
import { ClientFrame } from "./frame.tsx";
import { languageOptions } from "./languages.ts";
import { Preview } from "./preview.tsx";
import { words } from "./words.ts";

const { looks } = words;

const options = <K extends string>(labels: Record<K, string>) =>
  (Object.keys(labels) as K[]).map((value) => ({ value, label: labels[value] }));

export default function Looks({ params }: PageProps<"/clients/:client_id/looks">) {
  return (
    <ClientFrame key={params.client_id} client_id={params.client_id} tab="looks" wide>
      {(client, resource) => <Form client={client} resource={resource} />}
    </ClientFrame>
  );
}

function Form({ client, resource }: { client: ClientDetail; resource: Resource<ClientDetail> }) {
  const form = useClientForm(client, resource);
  const widget = form.part("widget");
  return (
    <div class="clients-looks">
      <FormView form={form}>
        <Section title={looks.greeting}>
          <TextArea {...nullable(widget.field("welcome_message"))} label={looks.welcome} rows={3} grow maxLength={500} />
          <LinesInput {...widget.field("suggestions")} label={looks.suggestions} hint={looks.suggestionsHint} rows={4} />
          <Select
            {...form.field("locale")}
            label={looks.language}
            hint={looks.languageHint}
            options={languageOptions(client.widget_languages, looks.languageAuto)}
          />
        </Section>
        <Colours widget={widget} />
        <Head widget={widget} name={client.name} />
        <Place widget={widget} />
      </FormView>
      <aside class="clients-looks-aside">
        <Section title={looks.preview} hint={looks.previewHint}>
          <Preview client={client} edit={form.value} />
        </Section>
      </aside>
    </div>
  );
}

function Colours({ widget }: { widget: Fields<Widget> }) {
  const colors = widget.part("colors");
  return (
    <Section title={looks.colours}>
      <div class="clients-pair">
        <ColorInput {...nullable(colors.field("primary"))} label={looks.primary} hint={looks.primaryHint} />
        <ColorInput {...nullable(colors.field("primary_dark"))} label={looks.dark} hint={looks.darkHint} />
      </div>
      <Radios {...widget.field("theme")} label={looks.theme} options={options(looks.themes)} fd="theme" />
    </Section>
  );
}

function Head({ widget, name }: { widget: Fields<Widget>; name: string }) {
  const logo = nullable(widget.field("logo_url"));
  return (
    <Section title={looks.head}>
      <TextInput {...nullable(widget.field("title"))} label={looks.titleField} hint={looks.titleHint} placeholder={name} maxLength={60} />
      <TextInput {...nullable(widget.field("subtitle"))} label={looks.subtitle} maxLength={120} />
      <TextInput
        {...logo}
        label={looks.logo}
        hint={/^\s*http:/i.test(logo.value ?? "") ? <span class="tone-warn">{looks.logoPlain}</span> : looks.logoHint}
        type="url"
        placeholder="https://www.example.com/logo.svg"
        dir="ltr"
        maxLength={2000}
        fd="logo"
      />
    </Section>
  );
}

function Place({ widget }: { widget: Fields<Widget> }) {
  return (
    <Section title={looks.place}>
      <Radios {...widget.field("position")} label={looks.position} options={options(looks.positions)} fd="position" />
      <NumberInput {...widget.field("radius")} label={looks.radius} hint={looks.radiusHint} min={0} max={28} step={1} unit="px" />
      <TextInput {...nullable(widget.field("launcher_text"))} label={looks.launcher} hint={looks.launcherHint} maxLength={40} />
    </Section>
  );
}
