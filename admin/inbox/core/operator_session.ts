/**
 * The console's one socket: a ticket, hello, and back again after every loss. It knows what is watched, and no view.
 *
 * What a watched conversation is told goes to its watcher, which also says how it is to be asked for: from where it stands, so
 * that after a loss nothing is missed and nothing told twice.
 */

import {
  VERSION,
  type CLOSE,
  type ConversationWatch,
  type FromOperator,
  type InboxPage,
  type InboxUpdated,
  type OperatorError,
  type OperatorWelcome,
  type ToOperator,
} from "../../../widget-src/core/protocol.gen.ts";
import { createSocket, type RawSocket } from "../../../widget-src/core/socket.ts";

/** `waiting`: the link is lost and is being found again. `ended`: it will not be tried again by itself. */
export type Link = "idle" | "connecting" | "online" | "waiting" | "ended";

/** A frame about one conversation. */
export type About = Extract<ToOperator, { conversation_id: string }> | (OperatorError & { conversation_id: string });

/** What stands behind a watched conversation. */
export interface Watcher {
  /** The frame that asks for it, from where it stands. */
  hello(): ConversationWatch;
  receive(frame: About): void;
  /** Its newest seq, as the server told it in a pong. */
  head(seq: number): void;
  /** Somebody reads an answer that is being written: a draining server is heard to its end. */
  busy(): boolean;
}

export interface SessionEvents {
  /** `code` is the close code that ended it. */
  link(link: Link, code: number): void;
  welcome(frame: OperatorWelcome): void;
  /** The link is gone: what was asked over it is not answered any more. */
  lost(): void;
  /** The answer to what was asked about a conversation that is not watched. */
  answered(frame: About): void;
  inbox(frame: InboxPage | InboxUpdated): void;
  /** About no conversation. */
  error(frame: OperatorError): void;
  /** The session in the cookie is over. */
  signedOut(): void;
}

export interface OperatorSessionOptions {
  /** Of the socket: `ws(s)://host/api/v1/admin/ws`. */
  url: string;
  /** A fresh one from the server. Rejects with the `status` of the refusal, 0 where there was no answer. */
  ticket(): Promise<string>;
  on: SessionEvents;
  makeSocket?: (url: string) => RawSocket;
  random?: () => number;
}

export interface OperatorSession {
  link(): Link;
  start(): void;
  stop(): void;
  /** The page or the network is back. */
  nudge(): void;
  /** False where there is no link: then it is not sent, nor kept. */
  send(frame: FromOperator): boolean;
  watch(id: string, watcher: Watcher): void;
  /** Asks anew, from where the watcher stands. */
  again(id: string): void;
  unwatch(id: string): void;
}

const BAD_KEY: typeof CLOSE.bad_key = 4401;

interface Refusal {
  status?: number;
  retry_after_ms?: number | null;
}

export function createOperatorSession({ url, ticket, on, makeSocket, random }: OperatorSessionOptions): OperatorSession {
  const watchers = new Map<string, Watcher>();
  let link: Link = "idle";
  let greeting = 0; // which hello: a ticket that comes for an earlier one is nobody's
  let renewed = false; // the last refusal of a ticket was answered with a new one
  let wait: number | undefined; // the server's own, before the next attempt (ms)
  let draining: number | null = null;

  const socket = createSocket(url, { open: hello, text, down, ping }, makeSocket, random);

  function set(next: Link, code = 0) {
    if (next === link && !code) return;
    link = next;
    on.link(link, code);
  }

  const say = (frame: FromOperator) => socket.send(JSON.stringify(frame));

  function ping(): string {
    return JSON.stringify({ type: "ping", t: Date.now() });
  }

  /** The handshake is done: the ticket is asked for now, because it lives for 30 s only. */
  function hello() {
    const mine = ++greeting;
    ticket().then(
      (secret) => {
        if (mine === greeting) say({ type: "hello", v: VERSION, ticket: secret });
      },
      ({ status, retry_after_ms }: Refusal) => {
        if (mine !== greeting) return;
        if (status === 401) signedOut();
        else leave(retry_after_ms ?? undefined);
      },
    );
  }

  function signedOut() {
    stop();
    on.signedOut();
  }

  /** What was asked over this link is not answered any more. */
  function lose() {
    greeting++;
    draining = null;
    if (link === "online") on.lost();
  }

  /** Drops the link and comes back. */
  function leave(delay?: number) {
    lose();
    set("waiting");
    socket.again(delay);
  }

  function down(code: number, final: boolean) {
    const delay = draining ?? wait;
    wait = undefined;
    lose();
    if (!final) {
      set("waiting");
      if (delay !== undefined) socket.again(delay);
    } else if (code === BAD_KEY && !renewed) {
      // The ticket was too old, or the session is over: the next ticket tells.
      renewed = true;
      set("waiting");
      socket.start();
    } else set("ended", code);
  }

  function text(data: string) {
    let frame: ToOperator;
    try {
      frame = JSON.parse(data) as ToOperator;
    } catch (error) {
      console.warn("[frontdesk] bad frame", error);
      return;
    }
    take(frame);
    // An answer that somebody reads is heard to its end.
    if (draining !== null && ![...watchers.values()].some((watcher) => watcher.busy())) leave(draining);
  }

  function take(frame: ToOperator) {
    switch (frame.type) {
      case "welcome":
        renewed = false;
        wait = undefined;
        set("online");
        socket.beat(frame.heartbeat_s);
        on.welcome(frame);
        say({ type: "inbox.watch" });
        for (const watcher of watchers.values()) say(watcher.hello());
        break;
      case "inbox.page":
      case "inbox.updated":
        on.inbox(frame);
        break;
      case "pong":
        for (const [id, seq] of Object.entries(frame.heads ?? {})) watchers.get(id)?.head(seq);
        break;
      case "drain":
        draining = frame.retry_after_ms;
        break;
      case "error":
        if (frame.conversation_id) answer({ ...frame, conversation_id: frame.conversation_id });
        else {
          if (link !== "online") wait = frame.retry_after_ms ?? undefined;
          on.error(frame);
        }
        break;
      case "ack":
      case "nack":
      case "command.done":
        answer(frame);
        break;
      default:
        // A newer server may say more, and of what is no longer watched something may be on its way.
        watchers.get(frame.conversation_id)?.receive(frame);
    }
  }

  function answer(frame: About) {
    const watcher = watchers.get(frame.conversation_id);
    if (watcher) watcher.receive(frame);
    else on.answered(frame);
  }

  function stop() {
    lose();
    socket.stop();
    set("idle");
  }

  return {
    link: () => link,
    start() {
      if (link !== "idle" && link !== "ended") return;
      renewed = false;
      set("connecting");
      socket.start();
    },
    stop,
    nudge: socket.nudge,
    send(frame) {
      if (link !== "online") return false;
      say(frame);
      return true;
    },
    watch(id, watcher) {
      watchers.set(id, watcher);
      if (link === "online") say(watcher.hello());
    },
    again(id) {
      const watcher = watchers.get(id);
      if (watcher && link === "online") say(watcher.hello());
    },
    unwatch(id) {
      if (!watchers.delete(id) || link !== "online") return;
      say({ type: "conversation.unwatch", conversation_id: id });
    },
  };
}
