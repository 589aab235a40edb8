/** Every page of the console: its address, who may see it, and where it lies. Pages are loaded when first shown. */

import type { ComponentType } from "preact";
import type { Role } from "./core/session.ts";
import { type Found, match, type PageProps } from "./router.ts";
import type { IconName } from "./ui/icon.tsx";

export type { PageProps } from "./router.ts";

/** A part of the console: an entry of the navigation. */
export interface Area {
  id: string;
  title: string;
  path: string;
  icon: IconName;
  needs: Role;
  /** Goes there after `g`. */
  key: string;
}

export const areas: readonly Area[] = [
  { id: "inbox", title: "Inbox", path: "/inbox", icon: "inbox", needs: "operator", key: "i" },
  { id: "clients", title: "Clients", path: "/clients", icon: "clients", needs: "admin", key: "c" },
  { id: "tools", title: "Tools", path: "/tools", icon: "tools", needs: "admin", key: "t" },
  { id: "usage", title: "Usage", path: "/usage", icon: "usage", needs: "admin", key: "u" },
  { id: "operations", title: "Operations", path: "/operations", icon: "operations", needs: "owner", key: "o" },
  { id: "staff", title: "Staff", path: "/staff", icon: "staff", needs: "admin", key: "s" },
];

export interface AnyPage {
  path: string;
  area: string;
  needs: Role;
  load(): Promise<{ default: ComponentType<{ params: Found }> }>;
}

interface PageOf<P extends string> {
  area: string;
  needs: Role;
  load(): Promise<{ default: ComponentType<PageProps<P>> }>;
}

/** The component must take the parameters that its path has. */
const page = <P extends string>(path: P, rest: PageOf<P>): AnyPage => ({ path, ...rest }) as unknown as AnyPage;

/** The first that matches counts. */
export const pages: readonly AnyPage[] = [
  page("/inbox/:conversation_id?", { area: "inbox", needs: "operator", load: () => import("./inbox/index.tsx") }),
  page("/clients", { area: "clients", needs: "admin", load: () => import("./clients/list.tsx") }),
  page("/clients/new", { area: "clients", needs: "owner", load: () => import("./clients/new.tsx") }),
  page("/clients/:client_id", { area: "clients", needs: "admin", load: () => import("./clients/client.tsx") }),
  page("/clients/:client_id/start", { area: "clients", needs: "admin", load: () => import("./clients/start.tsx") }),
  page("/clients/:client_id/looks", { area: "clients", needs: "admin", load: () => import("./clients/looks.tsx") }),
  page("/clients/:client_id/assistant", { area: "clients", needs: "admin", load: () => import("./clients/assistant.tsx") }),
  page("/clients/:client_id/origins", { area: "clients", needs: "admin", load: () => import("./clients/origins.tsx") }),
  page("/clients/:client_id/tools", { area: "clients", needs: "admin", load: () => import("./tools/client_tools.tsx") }),
  page("/clients/:client_id/tools/:name", { area: "clients", needs: "admin", load: () => import("./tools/client_tool.tsx") }),
  page("/clients/:client_id/integrations", { area: "clients", needs: "admin", load: () => import("./tools/integrations.tsx") }),
  page("/clients/:client_id/integrations/:integration_id", { area: "clients", needs: "admin", load: () => import("./tools/integration.tsx") }),
  page("/clients/:client_id/integrations/:integration_id/:name", { area: "clients", needs: "admin", load: () => import("./tools/endpoint.tsx") }),
  page("/clients/:client_id/playground", { area: "clients", needs: "admin", load: () => import("./playground/index.tsx") }),
  page("/clients/:client_id/cases", { area: "clients", needs: "admin", load: () => import("./playground/cases.tsx") }),
  page("/clients/:client_id/cases/:case_id", { area: "clients", needs: "admin", load: () => import("./playground/case.tsx") }),
  page("/clients/:client_id/runs/:run_id", { area: "clients", needs: "admin", load: () => import("./playground/run.tsx") }),
  page("/tools", { area: "tools", needs: "admin", load: () => import("./tools/catalogue.tsx") }),
  page("/tools/:name", { area: "tools", needs: "admin", load: () => import("./tools/tool.tsx") }),
  page("/usage", { area: "usage", needs: "admin", load: () => import("./usage/index.tsx") }),
  page("/operations", { area: "operations", needs: "owner", load: () => import("./operations/index.tsx") }),
  page("/staff", { area: "staff", needs: "admin", load: () => import("./staff/index.tsx") }),
  page("/staff/audit", { area: "staff", needs: "admin", load: () => import("./staff/audit.tsx") }),
];

export function pageAt(path: string): { page: AnyPage; params: Found } | null {
  for (const each of pages) {
    const params = match(each.path, path);
    if (params) return { page: each, params };
  }
  return null;
}

export const areaOf = (shown: AnyPage | undefined): Area | undefined => areas.find((each) => each.id === shown?.area);

/** Where one begins. */
export const start = (): string => "/inbox";
