/** Where one can go: the areas that the role may see. On a phone they are behind a button. */

import { useState } from "preact/hooks";
import { may, useMe } from "../core/session.ts";
import { badges, link, type LinkState, network } from "../core/status.ts";
import { useKeys } from "../core/keys.ts";
import { useStore } from "../core/store.ts";
import { short } from "../core/text.ts";
import { type Area, areas, areaOf, pageAt } from "../pages.tsx";
import { Link, navigate, useRoute } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { Account } from "./account.tsx";

export function useAreas(): Area[] {
  const me = useMe();
  return areas.filter((each) => may(each.needs, me));
}

function Entries({ onGo }: { onGo?: () => void }) {
  const { path } = useRoute();
  const numbers = useStore(badges);
  const list = useAreas();
  const current = areaOf(pageAt(path)?.page);
  return (
    <ul class="nav">
      {list.map((area) => (
        <li key={area.id}>
          <Link to={area.path} class="nav-entry" current={area === current} title={area.title} onClick={onGo} fd={`nav-${area.id}`}>
            <Icon name={area.icon} />
            <span class="nav-title">{area.title}</span>
            {!!numbers[area.path] && (
              <span class="nav-number" data-fd={`badge-${area.id}`}>
                {short(numbers[area.path]!)}
              </span>
            )}
          </Link>
        </li>
      ))}
    </ul>
  );
}

const LINKS: Record<LinkState, string> = { up: "Live", connecting: "Connecting", down: "Not live" };

/** Whether what is shown is as it is now. */
function Live() {
  const state = useStore(link);
  const reached = useStore(network) === "up";
  if (state === null) return null;
  const shown = reached ? state : "down";
  return (
    <span class={`live-state ${shown}`} role="status" title={LINKS[shown]} data-fd="link-state" data-state={shown}>
      <span class="dot" aria-hidden="true" />
      <span class="nav-title">{LINKS[shown]}</span>
    </span>
  );
}

export function Brand() {
  return (
    <span class="brand">
      <svg class="brand-sign" width="24" height="24" viewBox="0 0 24 24" aria-hidden="true">
        <path d="M4 17h16M6 17a6 6 0 0 1 12 0M12 11V8.5M10 8h4M3 20h18" />
      </svg>
      <span class="nav-title">Frontdesk</span>
    </span>
  );
}

/** `g` and a letter, also where the navigation is behind its button. */
export function useGoing(): void {
  const list = useAreas();
  useKeys(list.map((area) => ({ keys: `g ${area.key}`, label: `Go to ${area.title}`, run: () => void navigate(area.path) })));
}

export function Side() {
  return (
    <div class="side" data-fd="side">
      <Link to="/" class="brand-link" label="Frontdesk, start page">
        <Brand />
      </Link>
      <nav aria-label="Main">
        <Entries />
      </nav>
      <div class="side-foot">
        <Live />
        <Account />
      </div>
    </div>
  );
}

/** Where the window is narrow. */
export function Top() {
  const [open, setOpen] = useState(false);
  const { path } = useRoute();
  const area = areaOf(pageAt(path)?.page);
  const waiting = useStore(badges, (all) => Object.values(all).reduce((sum, n) => sum + n, 0));
  return (
    <header class="top" data-fd="top">
      <Button kind="quiet" icon="menu" label={waiting ? `Navigation, ${waiting} waiting` : "Navigation"} onClick={() => setOpen(true)} fd="open-navigation" />
      <span class="top-title">{area?.title ?? "Frontdesk"}</span>
      <Live />
      <Account />
      <Dialog open={open} title="Frontdesk" onClose={() => setOpen(false)} fd="drawer">
        <nav aria-label="Main">
          <Entries onGo={() => setOpen(false)} />
        </nav>
      </Dialog>
    </header>
  );
}
