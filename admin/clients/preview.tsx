/** The live preview beside the form: light or dark, on a desktop or a phone. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { ClientDetail } from "../core/api.gen.ts";
import { Radios } from "../ui/choice.tsx";
import { Notice } from "../ui/show.tsx";
import type { Edit } from "./edit.ts";
import { openStage, type Stage } from "./stage.ts";
import { words } from "./words.ts";

const { looks } = words;
/** An empty page of our own: without a script, and free to load the client's logo from where it is. */
const PAGE = "/admin/preview";

const LIGHTS = [
  { value: "light", label: looks.light },
  { value: "dark", label: looks.darkShort },
];
const DEVICES = [
  { value: "desktop", label: looks.desktop },
  { value: "phone", label: looks.phone },
];

interface Speech {
  locale: string;
  strings: Record<string, string> | null;
}

/** The widget's words in the draft's language, as a page would get them. */
function useSpeech(public_key: string, locale: string): { speech: Speech | null; failed: boolean } {
  const [got, setGot] = useState<{ speech: Speech | null; failed: boolean }>({ speech: null, failed: false });
  useEffect(() => {
    const life = new AbortController();
    const wanted = locale === "auto" ? navigator.language : locale;
    void (async () => {
      try {
        const query = new URLSearchParams({ key: public_key, locale: wanted });
        const answer = await fetch(`/api/v1/config?${query}`, { signal: life.signal, referrerPolicy: "no-referrer" });
        if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
        const { locale: spoken, strings } = (await answer.json()) as { locale: string; strings?: Record<string, string> };
        setGot({ speech: { locale: spoken, strings: strings ?? null }, failed: false });
      } catch (error) {
        if (life.signal.aborted) return;
        console.warn("no words for the preview", error);
        setGot({ speech: { locale: "en", strings: null }, failed: true });
      }
    })();
    return () => life.abort();
  }, [public_key, locale]);
  return got;
}

export function Preview({ client, edit }: { client: ClientDetail; edit: Edit }) {
  const [light, setLight] = useState("light");
  const [device, setDevice] = useState("desktop");
  const { speech, failed } = useSpeech(client.public_key, edit.locale);
  const frame = useRef<HTMLIFrameElement>(null);
  const stage = useRef<Stage | null>(null);
  const [page, setPage] = useState<Document | null>(null);
  const draft = speech && {
    ...speech,
    name: edit.name,
    widget: edit.widget,
    dark: light === "dark",
    phone: device === "phone",
    sample: looks.sample,
  };
  const ready = page !== null && draft !== null;
  useEffect(() => {
    if (!page || !draft) return undefined;
    const opened = (stage.current = openStage(page, draft));
    return () => {
      opened.end();
      stage.current = null;
    };
  }, [page, ready]);
  useEffect(() => {
    if (draft) stage.current?.show(draft);
  }, [speech, edit.name, edit.widget, light, device]);
  return (
    <div class="clients-preview" data-fd="preview">
      <div class="clients-preview-bar">
        <Radios label={looks.theme} hideLabel value={light} options={LIGHTS} onChange={setLight} fd="preview-light" />
        <Radios label={looks.frame} hideLabel value={device} options={DEVICES} onChange={setDevice} fd="preview-device" />
      </div>
      {failed && <Notice tone="warn">{looks.noWords}</Notice>}
      <iframe
        ref={frame}
        class={`clients-frame ${device}`}
        title={looks.frame}
        src={PAGE}
        // No script of the page runs; its document is ours to draw into.
        sandbox="allow-same-origin"
        onLoad={() => setPage(frame.current?.contentDocument ?? null)}
        data-fd="preview-frame"
      />
    </div>
  );
}
