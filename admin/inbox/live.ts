/**
 * This window's desk: made once, and up from then on, so that a visitor who waits is heard on every page of the console.
 */

import type { ConversationPage, SocketTicket, TranscriptPage } from "../core/api.gen.ts";
import { get, post } from "../core/api.ts";
import { onReturn, setBadge, setLink, type LinkState } from "../core/status.ts";
import { navigate } from "../router.ts";
import { createAlerts, SILENT, type Alerts } from "./core/alerts.ts";
import { createDesk, type Desk } from "./core/desk.ts";
import type { Link } from "./core/operator_session.ts";
import type { Row } from "./core/rows.ts";
import { atNextFrame, createSources } from "./core/source.ts";
import { WORDS } from "./words.ts";

/** How the frame shows the link. */
const LINKS: Record<Link, LinkState> = { idle: "down", connecting: "connecting", online: "up", waiting: "connecting", ended: "down" };

let audio: AudioContext | undefined;

/** Two short tones: no file to load, and it is heard over other sounds. */
function beep(): void {
  audio ??= new AudioContext();
  void audio.resume();
  for (const [after, hertz] of [[0, 660], [0.16, 880]] as const) {
    const tone = audio.createOscillator();
    const loudness = audio.createGain();
    const at = audio.currentTime + after;
    tone.frequency.value = hertz;
    loudness.gain.setValueAtTime(0.0001, at);
    loudness.gain.exponentialRampToValueAtTime(0.15, at + 0.02);
    loudness.gain.exponentialRampToValueAtTime(0.0001, at + 0.15);
    tone.connect(loudness).connect(audio.destination);
    tone.start(at);
    tone.stop(at + 0.16);
  }
}

function notify(row: Row): void {
  try {
    // One conversation has one notification, however many windows tell it.
    const shown = new Notification(WORDS.waitsTitle, { body: row.preview ?? "", tag: row.conversation_id });
    shown.onclick = () => {
      focus();
      void navigate(`/inbox/${row.conversation_id}`);
      shown.close();
    };
  } catch (error) {
    console.warn("[frontdesk] no notification", error); // some browsers let only a service worker show them
  }
}

async function permit(): Promise<boolean> {
  if (!("Notification" in window)) return false;
  return (await Notification.requestPermission()) === "granted";
}

let opened: string | null = null;

export const alerts: Alerts = createAlerts(createSources(atNextFrame)(SILENT), {
  area: () => localStorage,
  beep,
  notify,
  permit,
  looksAt: (id) => id === opened && !document.hidden && document.hasFocus(),
});

export const desk: Desk = createDesk({
  url: `${location.origin.replace("http", "ws")}/api/v1/admin/ws`,
  ticket: async () => (await post<SocketTicket>("/ws-ticket")).ticket,
  readPage: (filter, before, limit) => get<ConversationPage>("/conversations", { ...filter, before, limit }),
  async readOlder(id, before) {
    const page = await get<TranscriptPage>(`/conversations/${id}/messages`, { before });
    return { messages: page.rows.map((row) => row.message), before: page.before };
  },
  signedOut: () => undefined, // the request for a ticket has shown the sign-in page
  waits: alerts.waits,
  later: atNextFrame,
});

/** This conversation is shown; null: none. */
export function openConversation(id: string | null): void {
  opened = id;
  desk.open(id);
}

let started = false;

/** Connects; does nothing the second time. */
export function startDesk(): void {
  if (started) return;
  started = true;
  const { line, inbox } = desk;
  line.subscribe(() => setLink(LINKS[line.get().link]));
  inbox.view.subscribe(() => setBadge("/inbox", inbox.view.get().waiting.length));
  const back = () => {
    desk.start();
    desk.nudge();
  };
  // The network is back, or somebody has signed in again.
  onReturn(back);
  addEventListener("online", desk.nudge);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) desk.nudge();
  });
  desk.start();
}
