import assert from "node:assert/strict";
import test from "node:test";
import { ApiError, createRequest, type Surroundings, withQuery } from "./api.ts";

type Reply = { status: number; body?: unknown } | "no network";

/** A server that gives these answers, one after the other, and what was asked and told meanwhile. */
function world(...replies: Reply[]) {
  const asked: { url: string; init: RequestInit }[] = [];
  const told = { waits: [] as number[], reached: [] as boolean[], signedOut: 0, renewed: 0 };
  let csrf: string | null = "token-1";
  const on: Surroundings = {
    async fetch(url, init) {
      asked.push({ url, init });
      const reply = replies.shift();
      if (!reply) throw new Error("asked more often than expected");
      if (reply === "no network") throw new TypeError("Failed to fetch");
      const text = reply.body === undefined ? null : typeof reply.body === "string" ? reply.body : JSON.stringify(reply.body);
      return new Response(text, { status: reply.status });
    },
    wait: async (ms) => void told.waits.push(ms),
    csrf: () => csrf,
    renew: async () => {
      told.renewed += 1;
      csrf = "token-2";
      return true;
    },
    signedOut: () => void told.signedOut++,
    reached: (yes) => void told.reached.push(yes),
  };
  return { request: createRequest(on), asked, told };
}

const refusal = (code: string, more: object = {}) => ({ error: { code, message: `about ${code}`, request_id: "req_1", ...more } });
const header = (init: RequestInit, name: string) => (init.headers as Record<string, string>)[name];

async function problem(promise: Promise<unknown>): Promise<ApiError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof ApiError, String(error));
    return error;
  }
  return assert.fail("it did not fail");
}

test("a change carries its body and the token, a read neither", async () => {
  const { request, asked } = world({ status: 200, body: { a: 1 } }, { status: 204 });
  assert.deepEqual(await request("GET", "/clients"), { a: 1 });
  assert.equal(await request("PUT", "/clients/1", { name: "Bob" }), undefined);
  assert.equal(asked[0]!.url, "/api/v1/admin/clients");
  assert.equal(header(asked[0]!.init, "x-csrf-token"), undefined);
  assert.equal(asked[0]!.init.body, undefined);
  assert.equal(header(asked[1]!.init, "x-csrf-token"), "token-1");
  assert.equal(header(asked[1]!.init, "content-type"), "application/json");
  assert.equal(asked[1]!.init.body, '{"name":"Bob"}');
});

test("a refusal says what the server said", async () => {
  const { request } = world({ status: 422, body: refusal("invalid", { field: "looks.color", retry_after_ms: 40 }) });
  const error = await problem(request("PUT", "/clients/1", {}));
  assert.deepEqual(
    [error.status, error.code, error.message, error.field, error.retry_after_ms, error.request_id],
    [422, "invalid", "about invalid", "looks.color", 40, "req_1"],
  );
});

for (const body of ["<html>Bad Gateway</html>", '"text"', "null", "", "{}"]) {
  test(`a proxy's own page is told as its status: ${body || "nothing"}`, async () => {
    const { request } = world({ status: 502, body });
    const error = await problem(request("POST", "/x"));
    assert.deepEqual([error.status, error.code, error.message], [502, "http", "The server answered with HTTP 502."]);
  });
}

test("a read is tried again when the network fails, and the loss is told", async () => {
  const { request, told } = world("no network", "no network", { status: 200, body: [] });
  assert.deepEqual(await request("GET", "/x"), []);
  assert.deepEqual(told.reached, [false, false, true]);
  assert.deepEqual(told.waits, [400, 1200]);
});

test("a read gives up after four attempts", async () => {
  const { request, asked } = world("no network", "no network", "no network", "no network");
  const error = await problem(request("GET", "/x"));
  assert.deepEqual([error.status, error.code, asked.length], [0, "network", 4]);
});

test("a change is never tried again: it may have arrived", async () => {
  const { request, asked } = world("no network");
  const error = await problem(request("POST", "/x", {}));
  assert.deepEqual([error.code, asked.length], ["network", 1]);
});

test("an expired session is told, and the request fails", async () => {
  const { request, told } = world({ status: 401, body: refusal("signed_out") });
  assert.equal((await problem(request("GET", "/x"))).status, 401);
  assert.equal(told.signedOut, 1);
});

test("a wrong password is no expired session", async () => {
  const { request, told } = world({ status: 401, body: refusal("bad_login") });
  assert.equal((await problem(request("POST", "/login", {}))).code, "bad_login");
  assert.equal(told.signedOut, 0);
});

test("when another tab has signed in, the token is renewed and the change sent again, once", async () => {
  const { request, asked, told } = world({ status: 403, body: refusal("csrf") }, { status: 200, body: ["done"] });
  assert.deepEqual(await request("PUT", "/x", {}), ["done"]);
  assert.equal(header(asked[1]!.init, "x-csrf-token"), "token-2");
  const again = world({ status: 403, body: refusal("csrf") }, { status: 403, body: refusal("csrf") });
  assert.equal((await problem(again.request("PUT", "/x", {}))).code, "csrf");
  assert.deepEqual([told.renewed, again.told.renewed], [1, 1]);
});

test("what nobody waits for any more says so, and nothing of the network", async () => {
  const { request, told } = world("no network");
  const life = new AbortController();
  life.abort();
  assert.equal((await problem(request("GET", "/x", undefined, life.signal))).code, "aborted");
  assert.deepEqual(told.reached, []);
});

test("a query leaves out what is not there, and is encoded", () => {
  assert.equal(withQuery("/x", { a: 1, b: null, c: undefined, d: "", e: false, f: "a&b=ü" }), "/x?a=1&e=false&f=a%26b%3D%C3%BC");
  assert.equal(withQuery("/x", {}), "/x");
  assert.equal(withQuery("/x?a=1", { b: 0 }), "/x?a=1&b=0");
});
