/**
 * Whole lives of an operator's console: whatever the network, the servers and the operator do, what is shown in the end is what a
 * console shows that has just been opened, each reply was said once, and no command runs for ever.
 */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { numbers } from "../../../widget-src/core/model.ts";
import { EMPTY, receive } from "../../../widget-src/core/reducer.ts";
import { seen } from "../../../widget-src/core/seen.ts";
import type { ConversationPage } from "../../core/api.gen.ts";
import { createDesk, type Desk } from "./desk.ts";
import { Link, Server, WATCHES } from "./operator_model.ts";
import { ANY, fits, type Filter } from "./rows.ts";

const IDS = ["cnv_a", "cnv_b", "cnv_c", "cnv_d", "cnv_e"];
const FILTERS: Filter[] = [ANY, ANY, { ...ANY, owner: "ai" }, { ...ANY, owner: "human" }, { ...ANY, waiting: true }];

/** A page of the list that is being read. */
interface Read {
  answer(): void;
  refuse(): void;
}

class World {
  readonly name: string;
  readonly random: ReturnType<typeof numbers>;
  readonly server: Server;
  readonly desk: Desk;
  link: Link | null = null;
  reads: Read[] = [];
  tickets: { give(ok: boolean): void }[] = [];
  replies = new Map<string, string>();
  signedOut = false;
  waits = 0;

  constructor(seed: number) {
    this.name = `seed ${seed}`;
    this.random = numbers(seed);
    this.server = new Server(this.random, IDS);
    this.desk = createDesk({
      url: "ws://desk/api/v1/admin/ws",
      ticket: () => new Promise((done, fail) => this.tickets.push({ give: (ok) => (ok ? done("ticket") : fail({ status: this.random(4) ? 0 : 401 })) })),
      readPage: (filter, before, limit) => this.read(() => this.server.page(filter, before, limit)),
      readOlder: () => Promise.resolve({ messages: [], before: null }),
      signedOut: () => (this.signedOut = true),
      waits: () => this.waits++,
      later: (run) => setTimeout(run, 16),
      makeSocket: () => (this.link = new Link(this.server)),
      random: () => this.random(1000) / 1000,
    });
    this.desk.inbox.show(ANY);
    this.desk.start();
  }

  read(take: () => ConversationPage): Promise<ConversationPage> {
    return new Promise((done, fail) => this.reads.push({ answer: () => done(structuredClone(take())), refuse: () => fail(new Error("no network")) }));
  }

  get live(): Link | null {
    return this.link && this.server.links.has(this.link) ? this.link : null;
  }

  step(): void {
    const { random, server, desk, live } = this;
    const id = IDS[random(IDS.length)]!;
    switch (random(26)) {
      case 0:
        if (random(2)) live?.end([1006, 1012, 4001, 4002, 4008, 4029, 4401][random(7)]!);
        break;
      case 1:
        if (live && random(3) === 0) live.swallowed = true;
        break;
      case 2:
        mock.timers.tick(random(5) ? random(3_000) : random(40_000));
        break;
      case 3:
        if (live?.greeted) live.down.push({ type: "drain", retry_after_ms: random(4_000) });
        break;
      case 4:
        if (live?.deaf) live.hears();
        else if (live) live.deaf = true;
        break;
      case 5: {
        const again = live?.arrived[random(live.arrived.length)];
        if (again) live!.down.push(structuredClone(again));
        break;
      }
      case 6:
        desk.open(random(4) ? id : null);
        break;
      case 7:
        desk.glance(IDS.filter(() => random(2)));
        break;
      case 8:
        if (random(3) === 0) desk.inbox.show(FILTERS[random(FILTERS.length)]!);
        if (random(6) === 0) desk.inbox.reload();
        if (random(6) === 0) desk.inbox.next();
        break;
      case 9:
        this.command(id);
        break;
      case 10:
        this.reply(id);
        break;
      case 11:
        desk.nudge();
        if (this.signedOut) this.signIn();
        break;
      case 12:
      case 13:
        if (live && !live.opened) live.accept();
        else this.tickets.shift()?.give(random(6) > 0);
        break;
      case 14:
      case 15:
        (random(5) ? this.reads.shift()?.answer : this.reads.shift()?.refuse)?.();
        break;
      case 16:
      case 17:
      case 18:
        live?.serve();
        break;
      case 19:
      case 20:
        live?.arrive(1 + random(8));
        break;
      default:
        server.desks.get(id)!.step();
    }
  }

  signIn(): void {
    this.signedOut = false;
    this.desk.start();
  }

  reply(id: string): void {
    const store = this.desk.conversation(id);
    const before = new Set(store.talk.get().state.outbox.map((d) => d.cid));
    const text = `reply ${this.replies.size}`;
    store.reply(text);
    this.replies.set(store.talk.get().state.outbox.find((d) => !before.has(d.cid))!.cid, text);
  }

  command(id: string): void {
    const store = this.desk.conversation(id);
    [store.takeOver, store.release, store.close, () => store.whisper("be kind"), store.stop, () => store.typing(true)][this.random(6)]!();
  }

  /** What holds at any time. */
  check(): void {
    const { live, server, desk } = this;
    assert.ok((live?.watches.size ?? 0) <= WATCHES, `${this.name}: too many watched`);
    assert.ok(server.links.size <= 1, `${this.name}: two links at once`);
    const { rows, filter } = desk.inbox.view.get();
    assert.equal(new Set(rows.map((row) => row.conversation_id)).size, rows.length, `${this.name}: a row twice`);
    assert.ok(rows.every((row) => fits(row, filter)), `${this.name}: a row that does not fit`);
  }

  /** Promises have gone on. */
  async turn(): Promise<void> {
    for (let i = 0; i < 6; i++) await null;
  }

  /** The weather is clear: everything arrives, time passes. */
  async settle(rounds = 10): Promise<void> {
    const { desk } = this;
    this.server.rough = false;
    for (let round = 0; round < rounds; round++) {
      if (this.signedOut) this.signIn();
      desk.start(); // where it was refused for good, as by the button that says so
      desk.nudge();
      for (let i = 0; i < 30; i++) {
        const { live } = this;
        if (live && !live.opened) live.accept();
        if (live?.deaf) live.hears();
        for (const ticket of this.tickets.splice(0)) ticket.give(true);
        for (const read of this.reads.splice(0)) read.answer();
        await this.turn();
        while (live && this.live === live && !live.swallowed && live.serve());
        live?.arrive(1000);
      }
      this.check();
      mock.timers.tick(5_000);
      await this.turn();
    }
  }
}

async function live(seed: number): Promise<void> {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_700_000_000_000 });
  const world = new World(seed);
  const { desk, server } = world;
  for (let step = 80 + (seed % 160); step > 0; step--) {
    world.step();
    await world.turn();
    world.check();
  }
  await world.settle();
  // What is live only is not told twice: a last loss, so that all is asked for once more.
  world.live?.end(1006);
  // What happens last is something that the list is told of.
  for (const [id, conversation] of server.desks) {
    while (conversation.live) conversation.step();
    conversation.reply(`last-${id}`, "Good bye");
  }
  desk.inbox.show(FILTERS[seed % FILTERS.length]!);
  await world.settle();
  for (const id of IDS) {
    desk.open(id);
    await world.settle(2);
    const talk = desk.conversation(id).talk.get();
    const fresh = server.desks.get(id)!.hello(null, null).reduce((state, frame) => receive(state, frame, Date.now()), EMPTY);
    assert.deepEqual(seen(talk.state), seen(fresh), `${world.name}: ${id} is not what it is`);
    assert.deepEqual(talk.whispers.map((each) => each.no), server.whispers.get(id)!.map((each) => each.no), `${world.name}: whispers of ${id}`);
    assert.ok(!Object.values(talk.commands).some((command) => command.state === "running"), `${world.name}: a command runs for ever`);
    for (const { cid, state } of talk.state.outbox) {
      assert.ok(state === "failed" && server.refused.has(cid), `${world.name}: ${cid} is still to be said`);
    }
    const stored = server.desks.get(id)!.messages.flatMap((m) => m.cid ?? []);
    assert.equal(new Set(stored).size, stored.length, `${world.name}: a reply was said twice`);
  }
  const stored = new Map([...server.desks.values()].flatMap((each) => each.messages.map((m) => [m.cid, m.text])));
  for (const [cid, text] of world.replies) assert.ok(stored.get(cid) === text || server.refused.has(cid), `${world.name}: ${cid} is lost`);
  const { rows, filter, loading } = desk.inbox.view.get();
  assert.equal(loading, false, world.name);
  assert.deepEqual(
    rows.map(({ conversation_id, seq, owner, preview }) => ({ conversation_id, seq, owner, preview })),
    server.rows().filter((row) => fits(row, filter)).map(({ conversation_id, seq, owner, preview }) => ({ conversation_id, seq, owner, preview })),
    `${world.name}: the list is not what it is`,
  );
  desk.stop();
}

test("whatever happens to a console, it ends as a fresh one, and each reply was said once", async () => {
  const only = Number(process.env.SEED);
  for (let seed = only || 1; seed <= (only || 300); seed++) await live(seed);
});
