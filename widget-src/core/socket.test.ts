import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { FakeSocket } from "./fake_socket.ts";
import { backoff, createSocket, isFinal, type Socket } from "./socket.ts";

let made: FakeSocket[];
let log: string[];
let socket: Socket;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  made = [];
  log = [];
  socket = createSocket(
    "ws://x",
    {
      open: () => log.push("open"),
      text: (data) => log.push(data),
      down: (code, final, opened) => log.push(`down ${code} ${final} ${opened}`),
      ping: () => "ping",
    },
    () => {
      made.push(new FakeSocket());
      return made[made.length - 1]!;
    },
    () => 0.5,
  );
});

const last = () => made[made.length - 1]!;

test("the wait is between 0 and the smaller of 20 s and 0.5 s times 2 to the n", () => {
  for (let n = 0; n < 12; n++) {
    const most = Math.min(20_000, 500 * 2 ** n);
    assert.equal(backoff(n, () => 0), 0);
    assert.ok(backoff(n, () => 0.999999) < most);
    assert.ok(backoff(n, () => 0.999999) > most * 0.99);
  }
});

test("the range of a close code says whether to come back", () => {
  for (const code of [1000, 1006, 4001, 4002, 4029, 4399, 4500]) assert.equal(isFinal(code), false, String(code));
  for (const code of [4400, 4401, 4410, 4426, 4499]) assert.equal(isFinal(code), true, String(code));
});

test("it reconnects with growing waits, and from the shortest after 30 s of health", () => {
  socket.start();
  for (const wait of [250, 500, 1000]) {
    last().drop(1006);
    const count = made.length;
    mock.timers.tick(wait - 1);
    assert.equal(made.length, count);
    mock.timers.tick(1);
    assert.equal(made.length, count + 1);
  }
  last().open();
  mock.timers.tick(20_000);
  last().say({});
  mock.timers.tick(10_000);
  last().drop(1006);
  const count = made.length;
  mock.timers.tick(250);
  assert.equal(made.length, count + 1);
});

test("a final close is not followed by another attempt", () => {
  socket.start();
  last().open();
  last().drop(4403);
  mock.timers.tick(60_000);
  assert.equal(made.length, 1);
  assert.deepEqual(log, ["open", "down 4403 true true"]);
});

test("35 s of silence is a dead link, and an answer to the ping keeps it", () => {
  socket.start();
  last().open();
  socket.beat(1000);
  mock.timers.tick(25_000);
  assert.deepEqual(last().sent, ["ping"]);
  mock.timers.tick(5_000);
  last().say({});
  mock.timers.tick(25_000);
  mock.timers.tick(9_999);
  assert.equal(log.some((line) => line.startsWith("down")), false);
  mock.timers.tick(1);
  assert.equal(log[log.length - 1], "down 1006 false true");
  assert.equal(made[0]!.closed, true);
});

test("a handshake that never ends is given up after 10 s", () => {
  socket.start();
  mock.timers.tick(10_000);
  assert.deepEqual(log, ["down 1006 false false"]);
});

test("a nudge connects at once where it waits, and asks where it is connected", () => {
  socket.start();
  last().drop(1006);
  socket.nudge();
  assert.equal(made.length, 2);
  last().open();
  socket.beat(25);
  socket.nudge();
  assert.deepEqual(last().sent, ["ping"]);
});

test("the server's own wait wins, and a stopped socket stays down", () => {
  socket.start();
  last().open();
  socket.again(7_000);
  mock.timers.tick(6_999);
  assert.equal(made.length, 1);
  mock.timers.tick(1);
  assert.equal(made.length, 2);
  socket.stop();
  socket.nudge();
  mock.timers.tick(60_000);
  assert.equal(made.length, 2);
});

test("a connection that is given up after 30 s of health waits from the shortest too", () => {
  socket.start();
  for (let loss = 0; loss < 6; loss++) {
    last().drop(1006);
    mock.timers.tick(20_000);
  }
  last().open();
  for (let rest = 0; rest < 2; rest++) {
    mock.timers.tick(15_000);
    last().say({});
  }
  const count = made.length;
  socket.again();
  mock.timers.tick(249);
  assert.equal(made.length, count);
  mock.timers.tick(1);
  assert.equal(made.length, count + 1);
});
