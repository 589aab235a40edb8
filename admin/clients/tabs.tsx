/** The pages of one client, as tabs. */

import { Tabs } from "../ui/tabs.tsx";
import { words } from "./words.ts";

export type ClientTab = keyof typeof words.tabs;

/** Each tab is a link to a page of its own. */
export function ClientTabs({ client_id, value }: { client_id: string | number; value: ClientTab }) {
  const base = `/clients/${client_id}`;
  const tabs = (Object.keys(words.tabs) as ClientTab[]).map((id) => ({
    id,
    label: words.tabs[id],
    to: id === "overview" ? base : `${base}/${id}`,
  }));
  return <Tabs label={words.tabsOf} tabs={tabs} value={value} />;
}
