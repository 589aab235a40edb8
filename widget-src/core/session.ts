/**
 * One visitor's conversation: hello and welcome, resume, messages that must not be lost. It knows no view.
 *
 * Frames in and out go over a line: the WebSocket, or HTTP where two handshakes failed and none ever came through.
 */

import { browserFetch, createLine, isRefusal, read, type Fetch, type Line } from "./http.ts";
import { VERSION, type CLOSE, type FromVisitor, type History, type ToVisitor } from "./protocol.gen.ts";
import { decided, discard, draft, EMPTY, looking, prepend, rate, receive, type Rating, type State } from "./reducer.ts";
import { createSocket, type RawSocket } from "./socket.ts";
import type { Shelf } from "./storage.ts";

/** `waiting`: the connection is lost and is being found again. `ended`: it will not be tried again by itself. */
export type LinkState = "idle" | "connecting" | "online" | "waiting" | "ended";

export interface Snap extends State {
  link: LinkState;
  /** The close code that ended it; HTTP refusals have the code that means the same. */
  ended: number;
  /** Without a socket an answer cannot be stopped or rated, and a tool not be allowed. */
  http: boolean;
}

export interface SessionOptions {
  key: string;
  /** Origin of the server, no slash at the end. */
  api: string;
  shelf: Shelf;
  locale(): string;
  page(): string;
  changed(snap: Snap): void;
  emit(event: "message" | "handoff" | "error", detail: object): void;
  /** Somebody else said something. */
  heard(text: string): void;
  makeSocket?: (url: string) => RawSocket;
  fetch?: Fetch;
  random?: () => number;
}

export interface Session {
  snap(): Snap;
  /** There is an earlier conversation to come back to. */
  known(): boolean;
  start(): void;
  send(text: string): void;
  retry(cid: string): void;
  /** Takes back a message that was refused. */
  remove(cid: string): void;
  stopTurn(): void;
  confirm(call_id: string, approved: boolean): void;
  rate(message_id: string, rating: Rating): void;
  typing(on: boolean): void;
  identify(jwt: string): void;
  /** Loads the page of history before the first message. Once there is none it does nothing. */
  older(): Promise<void>;
  looking(on: boolean): void;
  /** Forgets this conversation. The next one begins with `start`. */
  reset(): void;
  nudge(): void;
  close(): void;
}

const BAD_KEY: typeof CLOSE.bad_key = 4401;
const ERASED: typeof CLOSE.erased = 4410;
/** A message that got no ack in this time (ms) is sent again; the cid makes that safe. */
const UNACKED = 15_000;
/** How long a network is taken to block WebSockets after it did (ms): one hour. */
const BLOCKED = 3_600_000;
/** So many pending cids fit into a hello. */
const MAX_PENDING = 100;

export function newCid(): string {
  // randomUUID exists on https pages only
  return "c_" + crypto.getRandomValues(new Uint32Array(4)).join("");
}

export function createSession({ key, api, shelf, locale, page, changed, emit, heard, ...options }: SessionOptions): Session {
  const fetcher = options.fetch ?? browserFetch;
  const kept = shelf.read();

  let snap: Snap = { ...EMPTY, unread: kept.unread, seen: kept.seen, link: "idle", ended: 0, http: false };
  for (const { cid, text, at } of kept.pending) snap = { ...snap, ...draft(snap, cid, text, at) };
  let proof = kept.session;
  let identity: string | null = null;
  let line: Line | null = null;
  let welcomed = false; // ever: then a failed handshake says nothing about the network
  let refusals = 0;
  let forgot = false; // the stored session was refused once
  let draining: number | null = null;
  let head = -1; // the server's newest seq at the last pong
  let before: string | null | undefined; // where the next page of history ends; null: there is none
  let fetching = false;
  let later: ReturnType<typeof setTimeout> | undefined;

  const socket = createSocket(api.replace("http", "ws") + "/api/v1/ws", { open: hello, text: decode, down, ping }, options.makeSocket, options.random);

  function set(change: Partial<Snap>) {
    const old = snap;
    snap = { ...snap, ...change };
    // Another tab of this page may hold other pending messages, so only one's own are taken out or put in.
    if (old.outbox !== snap.outbox) {
      const mine = [...old.outbox, ...snap.outbox].map((d) => d.cid);
      shelf.write({ pending: [...shelf.read().pending.filter((p) => !mine.includes(p.cid)), ...pending()] });
    }
    const { unread, seen } = snap;
    const awaiting = isAwaiting(snap);
    if (awaiting !== isAwaiting(old) || unread !== old.unread || seen !== old.seen) shelf.write({ awaiting, unread, seen });
    changed(snap);
  }

  const isAwaiting = (s: State) => s.waiting || !!s.live;
  const pending = () => snap.outbox.filter((d) => d.state === "sending");
  /** Says again what is not known to be stored, and is so old (ms). The cids make that safe. */
  const resend = (age = 0) => {
    for (const { cid, text, at } of pending()) if (Date.now() - at >= age) say({ type: "message.send", cid, text });
  };

  function say(frame: FromVisitor) {
    if (line) line.send(frame);
    else socket.send(JSON.stringify(frame));
  }

  function hello() {
    const { seq, epoch } = snap;
    say({
      type: "hello",
      v: VERSION,
      key,
      session: proof,
      epoch,
      last_seq: seq < 0 ? null : seq,
      identity,
      locale: locale(),
      page_url: page(),
      pending: pending().slice(0, MAX_PENDING).map((d) => d.cid),
    });
  }

  function decode(text: string) {
    try {
      take(JSON.parse(text) as ToVisitor);
    } catch (error) {
      console.warn("[frontdesk] bad frame", error);
    }
  }

  function take(frame: ToVisitor) {
    const old = snap;
    set(receive(old, frame, Date.now()));
    const counted = snap.seq !== old.seq; // a durable frame, and not one seen before
    switch (frame.type) {
      case "welcome":
        proof = frame.session;
        shelf.write({ session: proof });
        welcomed = true;
        set({ link: "online", http: !!line });
        if (!line) socket.beat(frame.heartbeat_s);
        resend();
        break;
      case "snapshot":
        before = undefined;
        break;
      case "message.created":
      case "message.completed":
      case "turn.stopped":
        if (!counted || !frame.message) break;
        emit("message", frame.message);
        if (frame.message.role !== "user") heard(frame.message.text);
        break;
      case "owner.changed":
        if (counted) emit("handoff", frame);
        break;
      case "nack":
        // One timer for all of them, else each answer to many would ask for all of them again.
        clearTimeout(later);
        later = setTimeout(resend, frame.retry_after_ms ?? UNACKED);
        emit("error", frame);
        break;
      case "turn.failed":
      case "error":
        emit("error", frame);
        break;
      case "drain":
        draining = frame.retry_after_ms;
        break;
      case "pong":
        // The event of a head seen at the last pong had a whole heartbeat to arrive.
        if (head > snap.seq) again();
        head = frame.head_seq;
    }
    // Where it drains, the answer that runs is read to its end first.
    if ((snap.gap && !old.gap) || (draining !== null && !snap.live)) again();
  }

  function again(delay = draining ?? undefined) {
    draining = null;
    head = -1;
    if (line) return hello();
    set({ link: "waiting" });
    socket.again(delay);
  }

  function ping(): string {
    resend(UNACKED);
    return JSON.stringify({ type: "ping", t: Date.now() });
  }

  function down(code: number, final: boolean, opened: boolean) {
    if (final) return refused(code);
    if (!opened && !welcomed && ++refusals >= 2) return overHttp();
    set({ link: "waiting" });
    if (draining !== null) again();
  }

  /** The server will not have us as we came. */
  function refused(code: number) {
    const stale = code === BAD_KEY && proof && !forgot;
    if (stale || code === ERASED) forget();
    if (stale) {
      forgot = true;
      return start();
    }
    set({ link: "ended", ended: code });
    emit("error", { code });
  }

  function forget() {
    proof = null;
    shelf.write({ session: null });
    set({ ...EMPTY, looking: snap.looking, outbox: pending(), link: "idle", ended: 0 });
  }

  function overHttp() {
    socket.stop();
    line ??= createLine(
      api,
      key,
      take,
      (error) => {
        line = null;
        // 401 and 403 are 4401 and 4403. What is not found over HTTP is a conversation that is no more.
        if (isRefusal(error)) return refused(error.status === 404 ? ERASED : 4000 + error.status);
        // No way through at all: the network is down, not the socket.
        refusals = 0;
        shelf.write({ blocked: 0 });
        set({ link: "waiting" });
        socket.again(error.detail?.retry_after_ms ?? undefined);
      },
      fetcher,
    );
    shelf.write({ blocked: Date.now() + BLOCKED });
    hello();
  }

  function start() {
    if (snap.link === "online" || snap.link === "connecting") return;
    set({ link: "connecting", ended: 0 });
    if (shelf.read().blocked > Date.now()) overHttp();
    else socket.start();
  }

  function send(text: string) {
    const cid = newCid();
    set(draft(snap, cid, text, Date.now()));
    if (snap.link === "online") say({ type: "message.send", cid, text });
    else if (snap.link === "idle") start();
    else socket.nudge();
  }

  const remove = (cid: string) => set(discard(snap, cid));

  function close() {
    line?.close();
    line = null;
    socket.stop();
  }

  return {
    snap: () => snap,
    known: () => !!proof,
    start,
    send,
    retry(cid) {
      const old = snap.outbox.find((d) => d.cid === cid);
      remove(cid);
      // It was refused, so it was never stored: as a new message it can be judged anew.
      if (old) send(old.text);
    },
    remove,
    stopTurn() {
      if (snap.live) say({ type: "turn.stop", turn_id: snap.live.turn_id });
    },
    confirm(call_id, approved) {
      say({ type: "tool.confirm", call_id, approved });
      set(decided(snap, call_id));
    },
    rate(message_id, rating) {
      say({ type: "feedback.give", message_id, rating });
      set(rate(snap, message_id, rating));
    },
    typing: (on) => say({ type: "typing.set", on }),
    identify(jwt) {
      identity = jwt;
      if (snap.link === "online") again(0);
    },
    async older() {
      const from = before === undefined ? snap.messages[0]?.id : before;
      if (!proof || !from || fetching) return;
      fetching = true;
      try {
        const url = `${api}/api/v1/sessions/${proof.id}/messages?before=${from}`;
        const { messages, before: next } = await read<History>(fetcher, url, proof.token);
        before = next ?? null;
        set(prepend(snap, messages));
      } finally {
        fetching = false;
      }
    },
    looking: (on) => set(looking(snap, on)),
    reset() {
      close();
      set({ outbox: [] });
      forget();
      forgot = false;
    },
    nudge: socket.nudge,
    close,
  };
}
