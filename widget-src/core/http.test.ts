import assert from "node:assert/strict";
import { test } from "node:test";
import { eventParser, isRefusal, request, type HttpError } from "./http.ts";

const STREAM = ': hello\n\nid: e:1\ndata: {"a":1}\n\nretry: 900\ndata: {"b":"x: y"}\n\nid: e:2\ndata: {}\n\n';

test("a stream cut anywhere gives the same events", () => {
  const want = [{ id: "e:1", data: '{"a":1}' }, { id: undefined, data: '{"b":"x: y"}' }, { id: "e:2", data: "{}" }];
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const parse = eventParser();
    assert.deepEqual([...parse(STREAM.slice(0, cut)), ...parse(STREAM.slice(cut))], want, String(cut));
  }
});

test("an error carries the status and what the server said, whatever the body is", async () => {
  const body = { error: { code: "rate_limited", message: "Slow", request_id: "r", retry_after_ms: 5 } };
  for (const [response, status, message, refusal] of [
    [Response.json(body, { status: 429 }), 429, "Slow", false],
    [Response.json(body, { status: 403 }), 403, "Slow", true],
    [new Response("<html>", { status: 502 }), 502, undefined, false],
  ] as const) {
    await assert.rejects(request(() => Promise.resolve(response), "http://x"), (error: HttpError) => {
      assert.equal(error.status, status);
      if (message) assert.equal(error.message, message);
      assert.equal(isRefusal(error), refusal);
      return true;
    });
  }
  await assert.rejects(request(() => Promise.reject(new TypeError("offline")), "http://x"), (error: HttpError) => error.status === 0);
});
