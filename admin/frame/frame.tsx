/** What stands around every page. */

import { useMe } from "../core/session.ts";
import { network } from "../core/status.ts";
import { useStore } from "../core/store.ts";
import { may } from "../core/session.ts";
import { pageAt, start } from "../pages.tsx";
import { navigate, useRoute } from "../router.ts";
import { useEffect, useState } from "preact/hooks";
import { Button } from "../ui/button.tsx";
import { Confirmation } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { Page } from "../ui/page.tsx";
import { Empty } from "../ui/show.tsx";
import { Toasts } from "../ui/toast.tsx";
import { Boundary } from "./boundary.tsx";
import { useDesk } from "./desk.ts";
import { Help } from "./help.tsx";
import { Lazy } from "./lazy.tsx";
import { Side, Top, useGoing } from "./navigation.tsx";

/** Where the sidebar has no room. */
const NARROW = "(max-width: 639px)";

function useMedia(query: string): boolean {
  const [media] = useState(() => matchMedia(query));
  const [matches, setMatches] = useState(media.matches);
  useEffect(() => {
    const changed = () => setMatches(media.matches);
    changed();
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, [media]);
  return matches;
}

export function Frame() {
  const narrow = useMedia(NARROW);
  useGoing();
  useDesk(may("operator", useMe()));
  return (
    <div class="frame" data-fd="frame">
      <a class="skip" href="#main">
        Skip to the page
      </a>
      {narrow ? <Top /> : <Side />}
      <main id="main" tabIndex={-1}>
        <Offline />
        <Shown />
      </main>
      <Help />
      <Confirmation />
      <Toasts />
    </div>
  );
}

function Offline() {
  const lost = useStore(network) === "lost";
  return (
    <div class="offline-place" role="status">
      {lost && (
        <div class="offline" data-fd="offline">
          <Icon name="warn" size={16} />
          The server cannot be reached. What you see may be old; it catches up by itself.
        </div>
      )}
    </div>
  );
}

function Shown() {
  const me = useMe();
  const { path } = useRoute();
  const found = pageAt(path);
  useEffect(() => {
    if (path === "/") void navigate(start(), { replace: true });
  }, [path]);
  if (path === "/") return null;
  if (!found) return <NotFound />;
  if (!may(found.page.needs, me)) return <NotAllowed needs={found.page.needs} />;
  return (
    <Boundary of={path}>
      <Lazy page={found.page} params={found.params} />
    </Boundary>
  );
}

function NotFound() {
  return (
    <Page title="Page not found">
      <Empty icon="search" title="There is nothing at this address" action={<Button to="/">Go to the start page</Button>} fd="not-found">
        The link may be old, or something was deleted.
      </Empty>
    </Page>
  );
}

function NotAllowed({ needs }: { needs: string }) {
  return (
    <Page title="Not allowed">
      <Empty icon="lock" title={`This page takes the role ${needs}`} action={<Button to="/">Go to the start page</Button>} fd="not-allowed">
        An owner of this installation can give it to you.
      </Empty>
    </Page>
  );
}
