/** Suspending a client, and making it active again. */

import type { ClientDetail } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { type Resource, useAction } from "../core/resource.ts";
import { may } from "../core/session.ts";
import { Button } from "../ui/button.tsx";
import { confirm } from "../ui/dialog.tsx";
import { Section } from "../ui/page.tsx";
import { ErrorBox } from "../ui/show.tsx";
import { toast } from "../ui/toast.tsx";
import { words } from "./words.ts";

const { overview } = words;

export function Standing({ client, resource }: { client: ClientDetail; resource: Resource<ClientDetail> }) {
  const { id, name, status } = client;
  const active = status === "active";
  const change = useAction(async (to: "suspend" | "activate") => {
    resource.set(await post<ClientDetail>(`/clients/${id}/${to}`));
    toast(to === "suspend" ? overview.suspendedToast : overview.activated, { tone: "good" });
  });
  const suspend = async () => {
    const yes = await confirm({ title: overview.suspendAsk(name), text: overview.suspendText, action: overview.suspend, danger: true });
    if (yes) await change.run("suspend");
  };
  const button = active ? (
    <Button kind="danger" busy={change.busy} onClick={() => void suspend()} fd="suspend">
      {overview.suspend}
    </Button>
  ) : (
    <Button busy={change.busy} onClick={() => void change.run("activate")} fd="activate">
      {overview.activate}
    </Button>
  );
  return (
    <Section title={active ? overview.danger : overview.standing} hint={active ? overview.suspendHint : overview.activeHint} danger={active} actions={may("owner") && button}>
      {change.error && <ErrorBox error={change.error} />}
      {!may("owner") && <p class="hint">{overview.onlyOwner}</p>}
    </Section>
  );
}
