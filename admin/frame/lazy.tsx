/** Pages come when they are first needed. */

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { AnyPage } from "../pages.tsx";
import type { Found } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { Notice, Skeleton } from "../ui/show.tsx";

type View = ComponentType<{ params: Found }>;

const loaded = new Map<AnyPage, View>();

export async function load(page: AnyPage): Promise<View> {
  const view = loaded.get(page) ?? (await page.load()).default;
  loaded.set(page, view);
  return view;
}

/** Shows a page with its parameters. The same page with others is not made anew. */
export function Lazy({ page, params }: { page: AnyPage; params: Found }) {
  const [failed, setFailed] = useState<AnyPage | null>(null);
  const [, setReady] = useState<AnyPage | null>(null);
  const View = loaded.get(page);
  useEffect(() => {
    if (View) return undefined;
    let wanted = true;
    load(page).then(
      () => wanted && setReady(page),
      (error: unknown) => {
        console.warn("a part of the console did not load", error);
        if (wanted) setFailed(page);
      },
    );
    return () => {
      wanted = false;
    };
  }, [page]);
  if (View) return <View params={params} />;
  if (failed === page) return <NotLoaded />;
  return (
    <div class="page">
      <Skeleton lines={5} />
    </div>
  );
}

function NotLoaded() {
  return (
    <div class="page" data-fd="not-loaded">
      <Notice
        tone="warn"
        title="This page did not load"
        action={
          <Button small icon="refresh" onClick={() => location.reload()}>
            Load again
          </Button>
        }
      >
        Either the network is gone, or there is a newer version of the console.
      </Notice>
    </div>
  );
}
