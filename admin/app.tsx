/** What is shown at all: the sign-in page, or the frame with a page in it. */

import { session } from "./core/session.ts";
import { useStore } from "./core/store.ts";
import { Boundary } from "./frame/boundary.tsx";
import { Frame } from "./frame/frame.tsx";
import { useRoute } from "./router.ts";
import { LinkPage, Opening, SignInAgain, SignInPage, Unknown } from "./sign_in/page.tsx";

export function App() {
  const state = useStore(session);
  const { path } = useRoute();
  const entering = path === "/link";
  return <Boundary of={entering ? "link" : "console"}>{entering ? <LinkPage /> : shown(state)}</Boundary>;
}

function shown(state: ReturnType<typeof session.get>) {
  switch (state.kind) {
    case "asking":
      return <Opening />;
    case "unknown":
      return <Unknown error={state.error} />;
    case "out":
      return <SignInPage />;
    case "in":
    case "expired":
      return (
        <>
          <Frame />
          {state.kind === "expired" && <SignInAgain signed={state.signed} />}
        </>
      );
  }
}
