/** A client's keys. What is secret is shown once, when it is made. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { ApiKeyShown, ClientDetail, IdentitySecretShown } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { type Resource, useAction } from "../core/resource.ts";
import { Button } from "../ui/button.tsx";
import { CopyField } from "../ui/code.tsx";
import { confirm, Once } from "../ui/dialog.tsx";
import { Section } from "../ui/page.tsx";
import { ErrorBox } from "../ui/show.tsx";
import { own } from "../ui/values.tsx";
import { words } from "./words.ts";

const { origins } = words;

interface Secret {
  title: string;
  label: string;
  value: string;
}

export function Keys({ client, resource }: { client: ClientDetail; resource: Resource<ClientDetail> }) {
  const { id, has_identity_secret, api_key_prefix, public_key } = client;
  const [secret, setSecret] = useState<Secret | null>(null);
  const rotate = useAction(async () => {
    const { api_key } = await post<ApiKeyShown>(`/clients/${id}/rotate-api-key`);
    setSecret({ title: origins.rotated, label: origins.apiKey, value: api_key });
    await resource.reload();
  });
  const identify = useAction(async () => {
    const { identity_secret } = await post<IdentitySecretShown>(`/clients/${id}/identity-secret`, { rotate: has_identity_secret });
    setSecret({ title: origins.identityShown, label: origins.identity, value: identity_secret });
    await resource.reload();
  });
  const askRotate = async () => {
    if (await confirm({ title: origins.rotateAsk, text: origins.rotateText, action: origins.rotateAction, danger: true })) await rotate.run();
  };
  const askIdentify = async () => {
    const question = { title: origins.identityAsk, text: origins.identityText, action: origins.identityRotate, danger: true };
    if (!has_identity_secret || (await confirm(question))) await identify.run();
  };
  return (
    <Section title={origins.keys}>
      <CopyField label={origins.publicKey} value={public_key} fd="public-key" />
      <Key label={origins.apiKey} hint={origins.apiKeyHint} value={<code>{`${api_key_prefix}…`}</code>}>
        <Button icon="key" busy={rotate.busy} onClick={() => void askRotate()} fd="rotate">
          {origins.rotate}
        </Button>
      </Key>
      {rotate.error && <ErrorBox error={rotate.error} />}
      <Key label={origins.identity} hint={origins.identityHint} value={has_identity_secret ? origins.identitySet : origins.identityNone}>
        <Button icon="key" busy={identify.busy} onClick={() => void askIdentify()} fd="identity">
          {has_identity_secret ? origins.identityRotate : origins.identityMake}
        </Button>
      </Key>
      {identify.error && <ErrorBox error={identify.error} />}
      {secret && <Once title={secret.title} secrets={[secret]} onClose={() => setSecret(null)} />}
    </Section>
  );
}

interface KeyProps {
  label: string;
  hint: string;
  value: ComponentChildren;
  children: ComponentChildren;
}

function Key({ label, hint, value, children }: KeyProps) {
  return (
    <div class="clients-key">
      <div>
        <div class="label">{label}</div>
        <div>{own(value)}</div>
        <div class="hint">{own(hint)}</div>
      </div>
      {children}
    </div>
  );
}
