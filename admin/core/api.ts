/** Requests to the console's API, `/api/v1/admin`. Paths are below it; what goes wrong is always an ApiError. */

export const BASE = "/api/v1/admin";

export type Method = "GET" | "POST" | "PUT" | "DELETE";
export type Query = Record<string, string | number | boolean | null | undefined>;

interface Detail {
  code: string;
  message: string;
  field?: string | null;
  retry_after_ms?: number | null;
  request_id?: string | null;
}

/** What the server said no with. Status 0 is no answer at all: code `network`, or `aborted` where nobody waits any more. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  /** The field that is wrong, such as `looks.color`. */
  readonly field: string | null;
  readonly retry_after_ms: number | null;
  readonly request_id: string | null;

  constructor(status: number, detail: Detail) {
    super(detail.message);
    this.name = "ApiError";
    this.status = status;
    this.code = detail.code;
    this.field = detail.field ?? null;
    this.retry_after_ms = detail.retry_after_ms ?? null;
    this.request_id = detail.request_id ?? null;
  }
}

/** Also for what is no answer of the server: a bug of ours then shows as one, and is told to the browser's console. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  console.error(error);
  return new ApiError(0, { code: "bug", message: error instanceof Error ? error.message : String(error) });
}

/** What a request needs from the rest of the console; `session.ts` and `status.ts` say it. */
export interface Surroundings {
  fetch(url: string, init: RequestInit): Promise<Response>;
  wait(ms: number): Promise<void>;
  /** The token that shows that a change comes from our page. */
  csrf(): string | null;
  /** Another tab has signed in since: asks for the token of today's session. False: it is somebody else's. */
  renew(): Promise<boolean>;
  signedOut(): void;
  /** Whether the server answered. */
  reached(yes: boolean): void;
}

/** Milliseconds before a GET is tried again after the network failed. */
const WAITS = [400, 1200, 3000];

export type Request = <T>(method: Method, path: string, body?: unknown, signal?: AbortSignal) => Promise<T>;

export function createRequest(on: Surroundings): Request {
  async function send(method: Method, path: string, body: unknown, signal?: AbortSignal): Promise<Answer | null> {
    const headers: Record<string, string> = {};
    const csrf = on.csrf();
    if (body !== undefined) headers["content-type"] = "application/json";
    if (method !== "GET" && csrf) headers["x-csrf-token"] = csrf;
    try {
      const init = { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal };
      const response = await on.fetch(BASE + path, init);
      return { status: response.status, ok: response.ok, text: await response.text() };
    } catch {
      // No network: fetch tells no more, and the browser's console has told it.
      return null;
    }
  }

  return async <T>(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<T> => {
    let renewed = false;
    for (let attempt = 0; ; ) {
      const answer = await send(method, path, body, signal);
      if (signal?.aborted) throw new ApiError(0, { code: "aborted", message: "nobody waits for it any more" });
      on.reached(answer !== null);
      if (!answer) {
        const wait = method === "GET" ? WAITS[attempt++] : undefined; // a change may have arrived
        if (wait === undefined) throw new ApiError(0, { code: "network", message: "The server cannot be reached." });
        await on.wait(wait);
        continue;
      }
      if (answer.ok) return (answer.text ? JSON.parse(answer.text) : undefined) as T;
      const error = new ApiError(answer.status, detail(answer));
      if (error.code === "csrf" && !renewed && (await on.renew())) {
        renewed = true;
        continue;
      }
      if (error.status === 401 && error.code === "signed_out") on.signedOut();
      throw error;
    }
  };
}

interface Answer {
  status: number;
  ok: boolean;
  text: string;
}

/** Of a refusal. A proxy's own page has another shape than ours. */
function detail({ status, text }: Answer): Detail {
  try {
    const { error } = JSON.parse(text) as { error?: Detail };
    if (error && typeof error.message === "string") return error;
  } catch {
    // Not JSON.
  }
  return { code: "http", message: `The server answered with HTTP ${status}.` };
}

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Filled by `session.ts` and `status.ts`. */
export const surroundings: Surroundings = {
  fetch: (url, init) => fetch(url, init),
  wait: pause,
  csrf: () => null,
  renew: () => Promise.resolve(false),
  signedOut: () => undefined,
  reached: () => undefined,
};

export const request = createRequest(surroundings);

/** The path with a query; what is null, undefined or empty is left out. */
export function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
}

/** The whole address, for a link to a download. */
export const url = (path: string, query?: Query): string => BASE + withQuery(path, query);

export const get = <T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> =>
  request<T>("GET", withQuery(path, query), undefined, signal);
export const post = <T = void>(path: string, body?: unknown): Promise<T> => request<T>("POST", path, body);
export const put = <T = void>(path: string, body?: unknown): Promise<T> => request<T>("PUT", path, body);
export const del = <T = void>(path: string, body?: unknown): Promise<T> => request<T>("DELETE", path, body);
