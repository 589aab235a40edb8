/**
 * A WebSocket that stays: it reconnects with full jitter, notices a dead link, and obeys close codes.
 * It carries text and knows no messages.
 */

/** After this silence of the server (ms) it is asked whether it is there; it has `ANSWER` ms more: 35 s in all. */
const SILENCE = 25_000;
const ANSWER = 10_000;
/** A connection as old as this (ms) was healthy: after its loss the waits start from the shortest. */
const HEALTHY = 30_000;

/** The part of a browser's WebSocket that is used. */
export type RawSocket = Pick<WebSocket, "onopen" | "onmessage" | "onclose" | "send" | "close">;

export interface SocketEvents {
  open(): void;
  text(data: string): void;
  /** `opened` is false where the handshake itself failed. A final close is not followed by another attempt. */
  down(code: number, final: boolean, opened: boolean): void;
  /** What to say to hear something back. */
  ping(): string;
}

export interface Socket {
  /** Connects now, unless it is connected. */
  start(): void;
  stop(): void;
  send(text: string): void;
  /** Drops the connection and comes back after `delay` ms, else after a jittered wait. */
  again(delay?: number): void;
  /** From now on pings every so many seconds. */
  beat(seconds: number): void;
  /** The network or the page came back: connects at once, or finds out whether the link still lives. */
  nudge(): void;
}

/** The range of a close code carries the verdict, so that a new code needs no new widget. */
export function isFinal(code: number): boolean {
  return code >= 4400 && code < 4500;
}

/** Milliseconds before attempt `n` (0, 1, 2 ...): full jitter, at most 20 s. */
export function backoff(n: number, random: () => number = Math.random): number {
  return random() * Math.min(20_000, 500 * 2 ** n);
}

type Timer = ReturnType<typeof setTimeout> | undefined;

export function createSocket(
  url: string,
  on: SocketEvents,
  make: (url: string) => RawSocket = (u) => new WebSocket(u),
  random: () => number = Math.random,
): Socket {
  let raw: RawSocket | null = null;
  let attempt = 0;
  let stopped = true;
  let since = 0; // when the handshake was done
  let beating = false;
  let probing = false;
  let retry: Timer;
  let silence: Timer;
  let pulse: Timer;

  const drop = () => {
    const old = raw;
    raw = null;
    clearTimeout(retry);
    clearTimeout(silence);
    clearInterval(pulse);
    if (since && Date.now() - since >= HEALTHY) attempt = 0;
    since = 0;
    beating = probing = false;
    retry = undefined;
    if (old) {
      old.onclose = old.onmessage = old.onopen = null;
      old.close();
    }
  };

  const schedule = (delay = backoff(attempt++, random)) => {
    if (!stopped) retry = setTimeout(open, delay);
  };

  const lost = (code = 1006) => {
    const opened = since > 0;
    const final = isFinal(code);
    drop();
    stopped ||= final;
    on.down(code, final, opened);
    if (!raw && !retry) schedule(); // the listener may have chosen another way
  };

  const send = (text: string) => {
    if (since) raw?.send(text);
  };

  // A hidden page's timers are slowed down, so silence alone proves nothing: ask before giving up.
  const probe = () => {
    if (probing || !beating) return lost();
    probing = true;
    clearTimeout(silence);
    silence = setTimeout(probe, ANSWER);
    send(on.ping());
  };

  const heard = () => {
    probing = false;
    clearTimeout(silence);
    silence = setTimeout(probe, SILENCE);
  };

  function open() {
    drop();
    stopped = false;
    try {
      raw = make(url);
    } catch {
      return lost(); // the browser refused the address, for instance ws: on an https page
    }
    silence = setTimeout(lost, ANSWER);
    raw.onopen = () => {
      since = Date.now();
      heard();
      on.open();
    };
    raw.onmessage = ({ data }: MessageEvent<unknown>) => {
      heard();
      if (typeof data === "string") on.text(data);
    };
    raw.onclose = ({ code }) => lost(code);
  }

  return {
    send,
    start() {
      if (!raw) open();
    },
    stop() {
      stopped = true;
      drop();
    },
    again(delay) {
      drop();
      stopped = false;
      schedule(delay);
    },
    beat(seconds) {
      beating = true;
      clearInterval(pulse);
      pulse = setInterval(() => send(on.ping()), seconds * 1000);
    },
    nudge() {
      if (stopped) return;
      if (!raw) open();
      else if (beating && !probing) probe();
    },
  };
}
