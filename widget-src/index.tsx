/** Entry of widget.js: reads the script tag, takes over the queue, starts the widget. */

import { createApi, warn, type Frontdesk } from "./embed/api.ts";
import { readTag } from "./embed/attributes.ts";
import { startWidget } from "./embed/widget.ts";

declare global {
  interface Window {
    frontdesk?: Frontdesk & { live?: boolean };
  }
}

async function boot(tag: HTMLScriptElement) {
  const stub = window.frontdesk;
  if (stub?.live) return warn("loaded twice");
  const attributes = readTag(tag);
  const api = createApi(stub);
  window.frontdesk = Object.assign(api.call, { live: true });
  try {
    await startWidget(attributes, api);
  } catch (error) {
    api.emit("error", { code: "config", message: String(error) });
    throw error;
  }
}

// Only while the script itself runs does the browser say which tag it came from.
const tag = document.currentScript as HTMLScriptElement | null;
if (tag) boot(tag).catch((error: unknown) => warn(String(error)));
else warn("not a module");
