/** Operators and the audit log. */

import { Tabs } from "../ui/tabs.tsx";
import { words } from "./words.ts";

const TABS = [
  { id: "operators", label: words.tabs.operators, to: "/staff" },
  { id: "audit", label: words.tabs.audit, to: "/staff/audit" },
];

export const StaffTabs = ({ value }: { value: "operators" | "audit" }) => <Tabs label={words.tabsOf} tabs={TABS} value={value} />;
