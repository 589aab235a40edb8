/** What the pages of one client have in common: its name, its state, the tabs. */

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import type { ClientDetail } from "../core/api.gen.ts";
import { type Resource, useResource } from "../core/resource.ts";
import { Page } from "../ui/page.tsx";
import { Badge, Load } from "../ui/show.tsx";
import { ClientTabs, type ClientTab } from "./tabs.tsx";
import { words } from "./words.ts";

export interface ClientFrameProps {
  client_id: string;
  tab: ClientTab;
  wide?: boolean;
  actions?: ComponentChildren;
  children: (client: ClientDetail, resource: Resource<ClientDetail>) => ComponentChildren;
}

/** Names that were read already: from tab to tab the head stays as it is. */
const known = new Map<string, Pick<ClientDetail, "name" | "status" | "domain">>();

export function ClientFrame({ client_id, tab, wide, actions, children }: ClientFrameProps) {
  const client = useResource<ClientDetail>(`/clients/${client_id}`);
  const head = client.value ?? known.get(client_id);
  useEffect(() => {
    if (client.value) known.set(client_id, client.value);
  }, [client.value]);
  return (
    <Page
      title={head?.name ?? words.client}
      subtitle={head && <bdi>{head.domain}</bdi>}
      badge={head?.status === "suspended" && <Badge tone="warn">{words.suspended}</Badge>}
      back={{ to: "/clients", label: words.title }}
      actions={actions}
      wide={wide}
    >
      <ClientTabs client_id={client_id} value={tab} />
      <Load from={client}>{(value) => children(value, client)}</Load>
    </Page>
  );
}
