/** Entry of the console. */

import { render } from "preact";
import { App } from "./app.tsx";
import { ask } from "./core/session.ts";
import { watchNetwork } from "./core/status.ts";
import { startTheme } from "./frame/theme.ts";

startTheme();
watchNetwork();
void ask();
render(<App />, document.getElementById("app")!);
