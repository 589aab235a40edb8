/**
 * Whole lives of a visitor's tabs, the session and its socket included: whatever the network, the servers and the page do,
 * what is shown in the end is what a fresh tab shows, each message was taken once, and nothing is left unsaid.
 *
 * The servers are models of `server/ws/reader.py` and `server/ws/visitor.py`: a reader subscribes, is held back while the
 * journal is read piece by piece, and then let go; a message can be stored and its ack be lost; Redis can lose frames.
 */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { FakeSocket } from "./fake_socket.ts";
import { Conversation, numbers, type Random, type Recovery } from "./model.ts";
import type { DurableToVisitor, FromVisitor, LiveAnswer, Snapshot, ToVisitor } from "./protocol.gen.ts";
import { EMPTY, receive } from "./reducer.ts";
import { seen } from "./seen.ts";
import { createSession, type Session } from "./session.ts";
import { openShelf, type Area } from "./storage.ts";

type Hello = Extract<FromVisitor, { type: "hello" }>;
const numbered = (frame: ToVisitor) => durable(frame) || frame.type === "message.delta";
const durable = (frame: ToVisitor): frame is DurableToVisitor => "seq" in frame && frame.type !== "ack";

/** A reading of the journal that is under way, a piece at a time. */
interface Reading {
  hello: Hello | null;
  epoch: string | null;
  seq: number | null;
  live?: LiveAnswer | null;
  text?: boolean;
  recovery?: Recovery;
}

/** One socket: both ends of it, and the network between. */
class Link extends FakeSocket {
  up: FromVisitor[] = [];
  down: ToVisitor[] = [];
  opened = false;
  /** Nothing arrives any more, and nobody is told. */
  swallowed = false;
  /** Redis loses what is published for this instance. */
  deaf = false;
  greeted = false;
  reading: Reading | null = null;
  /** Something was missed while it was read. */
  again = false;
  held: ToVisitor[] = [];
  seq = 0;
  /** What has arrived of what is numbered. */
  arrived: ToVisitor[] = [];
  told: LiveAnswer | null = null;
  readonly world: World;

  constructor(world: World) {
    super();
    this.world = world;
  }

  override send(text: string): void {
    super.send(text);
    this.up.push(JSON.parse(text) as FromVisitor);
  }

  override close(): void {
    super.close();
    this.world.gone(this);
    this.world.closing.push(this);
  }

  accept(): void {
    this.opened = true;
    this.open();
  }

  /** Closed from the other side. */
  end(code: number): void {
    this.world.gone(this);
    this.drop(code);
  }

  // --- the server's reader

  deliver(frame: ToVisitor): void {
    if (this.deaf || !this.greeted) return;
    if (this.reading) this.held.push(frame);
    else if (!durable(frame)) {
      if (!this.#isTold(frame)) this.down.push(frame);
    } else if (frame.seq === this.seq + 1) {
      this.seq++;
      this.down.push(frame);
    } else if (frame.seq > this.seq) this.resync();
  }

  #isTold(frame: ToVisitor): boolean {
    if (!this.told || frame.type !== "message.delta" || frame.turn_id !== this.told.turn_id) return false;
    if (frame.gen < this.told.gen || (frame.gen === this.told.gen && frame.n <= this.told.n)) return true;
    this.told = null;
    return false;
  }

  /** Redis is back: whatever was missed is read. */
  hears(): void {
    this.deaf = false;
    this.resync();
  }

  resync(): void {
    if (this.reading) this.again = true; // what was read already may be too old
    else if (this.greeted) this.reading = { hello: null, epoch: this.world.desk.epoch, seq: this.seq };
  }

  /** The server does one thing for this socket. */
  serve(): void {
    if (this.reading) return this.#read(this.reading);
    const frame = this.swallowed ? undefined : this.up.shift();
    switch (frame?.type) {
      case "hello":
        this.greeted = true;
        this.held = [];
        this.reading = { hello: frame, epoch: frame.epoch ?? null, seq: frame.last_seq ?? null };
        break;
      case "message.send":
        this.#message(frame.cid, frame.text);
        break;
      case "ping":
        this.down.push({ type: "pong", t: frame.t, head_seq: this.world.desk.journal.length });
        if (this.world.desk.journal.length > this.seq) this.resync();
    }
  }

  #message(cid: string, text: string): void {
    const { desk, random, refused } = this.world;
    for (const tab of this.world.tabs) if (tab.link === this) tab.due.delete(cid);
    if (this.world.rough && random(15) === 0) return; // lost with whoever was about to answer
    if (!desk.stored(cid) && random(12) === 0) {
      refused.add(cid);
      this.down.push({ type: "nack", cid, code: "rate_limited_visitor", message: "Slower", retry_after_ms: 3000 });
      return;
    }
    const away = this.world.rough && random(4) === 0;
    // The commit may have gone through though its answer was lost.
    if (!away || random(2)) {
      const { message } = desk.post(cid, text);
      if (!away) this.down.push({ type: "ack", cid, message_id: message.id, seq: message.seq });
    }
    if (away) this.down.push({ type: "nack", cid, code: "unavailable", message: "A moment", retry_after_ms: 2000 });
  }

  #read(reading: Reading): void {
    const { desk } = this.world;
    const { hello, recovery } = reading;
    if (reading.live === undefined) {
      reading.live = desk.readLive();
    } else if (!recovery) {
      const events = desk.replay(reading.epoch, reading.seq);
      const upTo = desk.journal.length;
      const ended = events?.some((e) => /completed|failed|stopped/.test(e.type) && "turn_id" in e && e.turn_id === reading.live?.turn_id);
      const state: Snapshot & { type: "snapshot" } = { type: "snapshot", up_to_seq: upTo, owner: desk.owner };
      reading.recovery = events
        ? { resumed: true, events, upTo, snapshot: reading.live && !ended ? { ...state, live: reading.live } : null }
        : { resumed: false, events: [], upTo, snapshot: state };
    } else if (recovery.snapshot?.live && !reading.text) {
      // The turn before the events, its text after them: no event is newer than the state of its tools.
      reading.text = true;
      const { live } = recovery.snapshot;
      recovery.snapshot.live = desk.live?.turn_id === live.turn_id ? desk.readLive()! : { ...live, n: 0, text: "", tools: undefined };
    } else if (!recovery.resumed && !recovery.snapshot!.messages) {
      recovery.snapshot!.messages = desk.page(recovery.upTo);
      recovery.snapshot!.live = desk.readLive() ?? undefined;
    } else {
      if (!hello && !recovery.resumed) return this.end(4002);
      if (hello) this.down.push(desk.welcome(recovery, hello.pending ?? []));
      this.#release(recovery);
    }
  }

  #release({ events, snapshot, upTo }: Recovery): void {
    this.down.push(...events);
    if (snapshot) this.down.push({ ...snapshot, type: "snapshot" } as ToVisitor);
    this.seq = upTo;
    this.told = snapshot?.live ?? null;
    this.reading = null;
    const { held } = this;
    this.held = [];
    for (const frame of held) this.deliver(frame);
    if (this.again) {
      this.again = false;
      this.resync();
    }
  }

  // --- the network

  arrive(some: number): void {
    while (some-- > 0 && this.down.length && !this.closed && !this.swallowed) {
      const frame = this.down.shift()!;
      this.world.heard(this, frame);
      this.say(frame);
      if (numbered(frame)) this.arrived.push(frame);
      // Cut where it hurts: it knows that all is new, and not yet what.
      if (frame.type === "welcome" && !frame.resumed && this.world.rough && this.world.random(4) === 0) this.end(1006);
    }
  }

  /** Something numbered gets lost; of deltas only one that others follow, for nothing else tells that it is missing. */
  lose(): void {
    const { down } = this;
    const at = this.world.random(down.length + 1);
    const frame = down[at];
    if (!frame || !numbered(frame)) return;
    const follows = (f: ToVisitor) => frame.type === "message.delta" && f.type === frame.type && f.turn_id === frame.turn_id && f.gen === frame.gen;
    if (durable(frame) || down.slice(at + 1).some(follows)) down.splice(at, 1);
  }
}

/** The storage of one browser. */
class Memory implements Area {
  data = new Map<string, string>();
  getItem = (key: string) => this.data.get(key) ?? null;
  setItem = (key: string, value: string) => void this.data.set(key, value);
}

/** One tab: its session now, and what it has said. */
interface Tab {
  area: Memory;
  session: Session;
  link: Link | null;
  /** No link may be made before that time: a draining server said so. */
  notBefore: number;
  /** When a message that could not be stored is to be said again at the latest. */
  due: Map<string, number>;
}

class World {
  readonly random: Random;
  readonly desk: Conversation;
  tabs: Tab[] = [];
  links = new Set<Link>();
  /** Closed from this side; the browser says so later. */
  closing: Link[] = [];
  said = new Map<string, string>();
  refused = new Set<string>();
  /** Said here, for the session takes what is thrown in a callback for somebody else's. */
  wrong: string[] = [];
  /** Postgres comes and goes, and links break. */
  rough = true;

  readonly name: string;

  constructor(seed: number) {
    this.name = `seed ${seed}`;
    this.random = numbers(seed);
    this.desk = new Conversation(this.random);
    this.desk.published = (frame) => {
      for (const link of this.links) link.deliver(structuredClone(frame));
    };
    this.desk.mayReset = () => [...this.links].every((link) => !link.reading);
    const shared = new Memory();
    for (let tabs = 1 + this.random(2); tabs > 0; tabs--) this.tabs.push(this.page(this.random(2) ? shared : new Memory()));
  }

  /** A page is loaded, in a new tab or in an old one's place. */
  page(area: Memory, tab: Tab = { area, session: null!, link: null, notBefore: 0, due: new Map() }): Tab {
    const told = new Set<string>();
    tab.notBefore = 0;
    tab.due.clear();
    tab.session = createSession({
      key: "pk",
      api: "http://desk",
      shelf: openShelf("pk", () => area),
      locale: () => "en",
      page: () => "http://shop/",
      changed: () => undefined,
      emit: (event, detail) => {
        if (event !== "message") return;
        const { id } = detail as { id: string };
        if (told.has(id)) this.wrong.push(`${id} was announced twice`);
        told.add(id);
      },
      heard: () => undefined,
      makeSocket: () => {
        if (Date.now() < tab.notBefore) this.wrong.push("came back before the server's own wait was over");
        if (tab.link && !tab.link.closed) this.wrong.push("two links at once");
        tab.link = new Link(this);
        this.links.add(tab.link);
        return tab.link;
      },
      fetch: () => Promise.reject(new TypeError("no network")),
      random: () => this.random(1000) / 1000,
    });
    tab.session.start();
    return tab;
  }

  gone(link: Link): void {
    this.links.delete(link);
    link.closed = true;
  }

  /** What a tab is about to hear. */
  heard(link: Link, frame: ToVisitor): void {
    const tab = this.tabs.find((t) => t.link === link)!;
    // With an answer under way it stays to hear its end.
    if (frame.type === "nack" && frame.code === "unavailable") tab.due.set(frame.cid, Date.now() + frame.retry_after_ms!);
    if (frame.type === "drain" && !tab.session.snap().live) tab.notBefore = Date.now() + frame.retry_after_ms;
  }

  say(tab: Tab): void {
    const before = new Set(tab.session.snap().outbox.map((d) => d.cid));
    const text = `message ${this.said.size}`;
    tab.notBefore = 0; // a visitor who writes does not wait
    tab.session.send(text);
    const { cid } = tab.session.snap().outbox.find((d) => !before.has(d.cid))!;
    this.said.set(cid, text);
  }

  /** What holds at any time. */
  check(): void {
    assert.deepEqual(this.wrong, [], this.name);
    for (const { session, link, due } of this.tabs) {
      const { gap, link: state, outbox } = session.snap();
      assert.ok(!gap || state !== "online", `${this.name}: a gap, and it goes on`);
      if (state !== "online" || !link || link.up.length) continue;
      for (const { cid } of outbox) assert.ok(Date.now() <= (due.get(cid) ?? Infinity), `${this.name}: ${cid} is not said again in time`);
    }
  }

  step(): void {
    const { random } = this;
    const tab = this.tabs[random(this.tabs.length)]!;
    const link = tab.link && this.links.has(tab.link) ? tab.link : null;
    switch (random(24)) {
      case 0:
        if (link?.opened) link.end([1006, 1012, 4001, 4002, 4008, 4029, 4399][random(7)]!);
        else if (link && tab.session.snap().seq >= 0) link.end(1006); // before it ever came through it would be HTTP's
        break;
      case 1:
        if (link && random(3) === 0) link.swallowed = true;
        break;
      case 2:
        mock.timers.tick(random(5) ? random(3_000) : random(40_000));
        break;
      case 3:
        if (link?.greeted) link.down.push({ type: "drain", retry_after_ms: random(4_000) });
        break;
      case 4:
        if (link?.deaf) link.hears();
        else if (link) link.deaf = true;
        break;
      case 5: {
        // Told once more, by a journal that was read while the hub delivered.
        const again = link?.arrived[random(link.arrived.length)];
        if (again) link!.down.push(structuredClone(again));
        if (random(2)) link?.lose();
        break;
      }
      case 6:
        if (random(4) === 0) {
          tab.session.close();
          if (tab.link) this.gone(tab.link);
          this.page(tab.area, tab);
        }
        break;
      case 7:
        if (random(4) === 0) this.desk.restore();
        // Whoever reads it now is cut off, as by a restart of everything.
        if (this.desk.epoch !== (this.#epoch ??= this.desk.epoch)) {
          this.#epoch = this.desk.epoch;
          for (const each of [...this.links]) each.end(1006);
        }
        break;
      case 8:
        this.closing.shift()?.drop(1005);
        if (random(2)) break;
        tab.notBefore = 0;
        tab.session.nudge();
        break;
      case 9:
      case 10:
        this.say(tab);
        break;
      case 11:
      case 12:
      case 13:
        if (link && !link.opened) link.accept();
        else link?.arrive(random(6));
        break;
      case 14:
      case 15:
      case 16:
      case 17:
        link?.serve();
        break;
      case 18:
      case 19:
        link?.arrive(1 + random(8));
        break;
      default:
        this.desk.step();
    }
  }

  #epoch: string | undefined;

  /** The weather clears: links come up, everything arrives, time passes. */
  async settle(): Promise<void> {
    this.rough = false;
    for (const tab of this.tabs) {
      tab.notBefore = 0;
      tab.session.nudge();
    }
    // A minute, in which each link has had two pongs.
    for (let quiet = 0, round = 0; quiet < 12; round++) {
      assert.ok(round < 400, `${this.name}: it never comes to rest, ${JSON.stringify(this.tabs.map((t) => [t.session.snap(), t.link]), (k, v) => (k === "world" || k === "sent" || k=="messages" ? 0 : v))}`);
      for (const link of [...this.links]) {
        if (!link.opened) link.accept();
        if (link.deaf) link.hears();
        const { greeted } = link;
        while (this.links.has(link) && !link.swallowed && (link.up.length || link.reading || link.down.length)) {
          link.serve();
          link.arrive(100);
        }
        const tab = this.tabs.find((t) => t.link === link)!;
        if (!greeted && link.greeted && !link.closed)
          assert.ok(!tab.session.snap().outbox.some((d) => d.state === "sending"), `${this.name}: it came back and did not say what was to be said`);
      }
      this.check();
      const waits = this.tabs.some(({ session, link }) => {
        const snap = session.snap();
        return link?.swallowed || snap.link !== "online" || snap.outbox.some((d) => d.state === "sending");
      });
      quiet = waits ? 0 : quiet + 1;
      for (const tab of this.tabs) tab.notBefore = 0;
      await new Promise(setImmediate); // a page that took to HTTP learns that there is none either
      mock.timers.tick(5_000);
    }
  }
}

/** One life. */
async function live(seed: number): Promise<void> {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_700_000_000_000 });
  const world = new World(seed);
  const { desk, tabs } = world;
  for (let step = 60 + (seed % 140); step > 0; step--) {
    world.step();
    world.check();
  }
  await world.settle();
  const fresh = desk.hello(null, null).reduce((state, frame) => receive(state, frame, Date.now()), EMPTY);
  for (const { session } of tabs) {
    const snap = session.snap();
    assert.equal(snap.link, "online", `seed ${seed}`);
    assert.deepEqual(seen(snap), seen(fresh), `seed ${seed}`);
    assert.deepEqual(snap.outbox.filter((d) => d.state !== "failed"), [], `seed ${seed}: something is still to be said`);
    for (const { cid } of snap.outbox) assert.ok(world.refused.has(cid), `seed ${seed}: ${cid} failed unrefused`);
    session.close();
  }
  const cids = desk.messages.flatMap((m) => m.cid ?? []);
  assert.equal(new Set(cids).size, cids.length, `seed ${seed}: a message was taken twice`);
  for (const m of desk.messages) if (world.said.has(m.cid!)) assert.equal(m.text, world.said.get(m.cid!));
  // What was stored and lost with a backup is nobody's here; what a page never learned the fate of is told again.
  if (desk.epoch === "e1") for (const cid of world.said.keys()) assert.ok(cids.includes(cid) || world.refused.has(cid), `seed ${seed}: ${cid} is lost`);
}

test("whatever happens to a tab, it ends as a fresh one, and each message was taken once", async () => {
  const only = Number(process.env.SEED);
  for (let seed = only || 1; seed <= (only || 2_500); seed++) await live(seed);
});
