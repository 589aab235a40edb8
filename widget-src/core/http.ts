/**
 * The public HTTP calls, and a line over them for networks that let no WebSocket through.
 * The line speaks the same frames as the socket, so the session does not notice which one it has.
 */

import type { ErrorBody, ErrorDetail, FromVisitor, History, MessageSend, SessionCreated, SessionProof, ToVisitor, Welcome } from "./protocol.gen.ts";
import { backoff } from "./socket.ts";

export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

/** Looked up at each call, because pages replace it. */
export const browserFetch: Fetch = (url, init) => fetch(url, init);

/** An answer that is not 2xx, with what the server said about it. Status 0: no answer at all. */
export interface HttpError extends Error {
  status: number;
  detail?: Partial<ErrorDetail>;
}

/** The server was reached and says no; asking again would not change that. */
export function isRefusal({ status }: HttpError): boolean {
  return status >= 400 && status < 500 && status !== 429;
}

/** GET, or POST where there is a body. No cookie is read there, and none is sent to another origin. Throws an HttpError only. */
export async function request(
  fetcher: Fetch,
  url: string,
  token?: string | null,
  body?: object,
  headers: Record<string, string> = {},
): Promise<Response> {
  let status = 0;
  let detail: ErrorDetail | undefined;
  try {
    if (token) headers.Authorization = "Bearer " + token;
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetcher(url, { method: body && "POST", headers, body: body && JSON.stringify(body) });
    if (response.ok) return response;
    status = response.status;
    detail = ((await response.json()) as Partial<ErrorBody> | null)?.error;
  } catch {
    // No network, which the browser's console tells, or a proxy's own page instead of our error body.
  }
  throw Object.assign(new Error(detail?.message ?? "HTTP " + status), { status, detail }) satisfies HttpError;
}

/** What a JSON answer says. */
export async function read<T>(...call: Parameters<typeof request>): Promise<T> {
  return (await (await request(...call)).json()) as T;
}

export interface ServerEvent {
  id?: string;
  data: string;
}

/**
 * Splits the server's event stream; give it each piece of text, get the events that are whole. Not for any such stream: ours ends
 * its lines with \n, and a frame is one line of data.
 */
export function eventParser(): (piece: string) => ServerEvent[] {
  let rest = "";
  return (piece) => {
    const blocks = (rest + piece).split("\n\n");
    rest = blocks.pop()!;
    return blocks.flatMap((block) => {
      const [, id, data] = /(?:^id: (.*)\n)?^data: (.*)/m.exec(block) ?? [];
      return data ? [{ id, data }] : []; // else a comment that keeps proxies awake
    });
  };
}

export interface Line {
  send(frame: FromVisitor): void;
  close(): void;
}

const ATTEMPTS = 4;
/** Frames that end a turn. */
const LAST = /completed|failed|stopped/;

/** `api` is the server's origin. `refused`: the line could not be opened, and the session decides what then. */
export function createLine(
  api: string,
  key: string,
  frame: (frame: ToVisitor) => void,
  refused: (error: HttpError) => void,
  fetcher: Fetch,
): Line {
  const base = api + "/api/v1/";
  let proof: SessionProof | null | undefined;
  let locale: string | null | undefined;
  let queue = Promise.resolve();
  let closed = false;

  const emit = (f: ToVisitor) => closed || frame(f);

  async function hello(cids: string[]) {
    if (!proof) {
      const { session_id: id, session_token: token } = await read<SessionCreated>(fetcher, base + "sessions", null, { key, locale });
      proof = { id, token };
    }
    const { messages } = await read<History>(fetcher, `${base}sessions/${proof.id}/messages`, proof.token);
    const pending = Object.fromEntries(cids.map((cid) => [cid, messages.some((m) => m.cid === cid) ? 0 : null]));
    // What the session reads of it. No epoch and no seq: what follows is taken as it comes.
    emit({ type: "welcome", session: proof, pending } as Welcome);
    emit({ type: "snapshot", up_to_seq: -1, owner: "ai", messages });
  }

  /**
   * The cid makes a second attempt safe, the last event's id makes it go on where it was cut. A stream is whole that ends with the
   * end of a turn; another is asked for the rest, until there is none (204).
   */
  async function say({ cid, text: message }: MessageSend) {
    let last: string | undefined;
    for (let attempt = 1; !closed; attempt++) {
      try {
        const headers = { Accept: "text/event-stream", "X-Frontdesk-Key": key, ...(last && { "Last-Event-ID": last }) };
        const body = { message, session_id: proof!.id, cid, locale };
        const { body: stream } = await request(fetcher, base + "chat", proof!.token, body, headers);
        if (!stream) return;
        const reader = stream.getReader();
        const decoder = new TextDecoder();
        const parse = eventParser();
        let whole = false;
        for (;;) {
          const { done, value } = await reader.read();
          if (done || closed) break;
          for (const { id, data } of parse(decoder.decode(value, { stream: true }))) {
            attempt = 0;
            last = id || last;
            const f = JSON.parse(data) as ToVisitor;
            emit(f);
            whole = LAST.test(f.type);
          }
        }
        if (whole) return;
      } catch (error) {
        const { status = 0, detail } = error as Partial<HttpError>;
        // Once something has come the message is stored, and its answer is waited for.
        if ((status && status < 500) || (attempt === ATTEMPTS && !last)) {
          emit({ type: "nack", cid, code: "http", message: "", ...detail });
          return;
        }
      }
      await new Promise((done) => setTimeout(done, backoff(attempt)));
    }
  }

  return {
    send(f) {
      if (f.type === "hello") {
        locale = f.locale;
        proof = f.session ?? proof;
        hello(f.pending ?? []).catch((error: HttpError) => closed || refused(error));
      } else if (f.type === "message.send") {
        queue = queue.then(() => say(f)); // one answer at a time, in order
      }
    },
    close() {
      closed = true;
    },
  };
}
