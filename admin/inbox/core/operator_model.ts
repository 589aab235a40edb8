/**
 * A server in memory, for tests of what stands on the console's side of the wire: conversations, their inbox, and what each
 * operator's socket is told. It follows `server/ws/operator.py`, `watch.py`, `inbox.py` and `reader.py`.
 */

import { FakeSocket } from "../../../widget-src/core/fake_socket.ts";
import { Conversation, type Random, type Recovery } from "../../../widget-src/core/model.ts";
import type {
  DurableToVisitor,
  FromOperator,
  InboxRow,
  LiveAnswer,
  ToOperator,
  ToVisitor,
  WhisperRecorded,
} from "../../../widget-src/core/protocol.gen.ts";
import type { ConversationPage, ConversationRow } from "../../core/api.gen.ts";
import { fits, moment, type Filter } from "./rows.ts";

/** Rows of the socket's page: few, so that pages end. */
const ROWS = 3;
export const WATCHES = 6;

const SHOWN: ReadonlySet<string> = new Set(["message.created", "message.completed", "turn.stopped", "turn.failed", "owner.changed"]);
const durable = (frame: ToVisitor): frame is DurableToVisitor => "seq" in frame && frame.type !== "ack";

type Watch = Extract<FromOperator, { type: "conversation.watch" }>;

/** Conversations, and who is told of them. */
export class Server {
  readonly random: Random;
  readonly desks = new Map<string, Conversation>();
  readonly whispers = new Map<string, WhisperRecorded[]>();
  readonly links = new Set<Link>();
  /** Cids that were refused for good. */
  readonly refused = new Set<string>();
  /** Postgres comes and goes, and links break. */
  rough = true;
  #rows = new Map<string, InboxRow>();
  #clock = 0;

  constructor(random: Random, ids: string[]) {
    this.random = random;
    for (const id of ids) {
      const desk = new Conversation(random);
      // Ids are everybody's here, and each model counts its own.
      desk.published = (frame) => this.#published(id, frame);
      desk.mayReset = () => [...this.links].every((link) => !link.watches.get(id)?.recovery);
      this.desks.set(id, desk);
      this.whispers.set(id, []);
      desk.post(`first-${id}`, "Hello?");
    }
  }

  #published(id: string, frame: ToVisitor): void {
    if (durable(frame)) this.#advance(id, frame);
    for (const link of this.links) link.watches.get(id)?.deliver(frame);
    if (SHOWN.has(frame.type)) for (const link of this.links) link.row(this.#rows.get(id)!);
  }

  #advance(id: string, frame: DurableToVisitor): void {
    const desk = this.desks.get(id) ?? { owner: "ai" as const };
    this.#clock = Math.max(Date.now(), this.#clock + 1);
    const at = new Date(this.#clock).toISOString();
    const said = "message" in frame && typeof frame.message === "object" ? frame.message?.text : undefined;
    const preview = said ?? this.#rows.get(id)?.preview;
    const waiting_since = desk.owner === "human" ? at : null;
    this.#rows.set(id, { conversation_id: id, client_id: 1, seq: frame.seq, owner: desk.owner, last_activity_at: at, preview, operator: null, waiting_since });
  }

  whisper(id: string, text: string): void {
    const all = this.whispers.get(id)!;
    const recorded: WhisperRecorded = { type: "whisper.recorded", conversation_id: id, no: all.length + 1, text, created_at: new Date(Date.now()).toISOString() };
    all.push(recorded);
    for (const link of this.links) link.watches.get(id)?.tell(recorded);
  }

  /** The inbox as it is now, most recently active first. */
  inbox(): InboxRow[] {
    return [...this.#rows.values()].sort((a, b) => (moment(a.last_activity_at) < moment(b.last_activity_at) ? 1 : -1));
  }

  /** The same as the list's own route tells it. */
  rows(): ConversationRow[] {
    return this.inbox().map((row) => ({
      ...row,
      preview: row.preview ?? null,
      preview_role: "user",
      operator: null,
      waiting_since: row.waiting_since ?? null,
      visitor_name: `Visitor of ${row.conversation_id}`,
      channel: "widget",
      rating: null,
      message_count: 1,
      cost: "0",
    }));
  }

  page(filter: Filter, before: string | null, limit: number): ConversationPage {
    const all = this.rows().filter((row) => fits(row, filter) && (before === null || moment(row.last_activity_at) < before));
    const rows = all.slice(0, limit);
    return { rows, before: all.length > limit ? moment(rows[rows.length - 1]!.last_activity_at) : null };
  }
}

/** One conversation that a socket watches. */
class Reader {
  readonly id: string;
  readonly link: Link;
  seq = 0;
  /** What was asked for, until it has been read and told. Null in it: a look of the server's own. */
  asked: { watch: Watch | null } | null = null;
  recovery: Recovery | null = null;
  again = false;
  held: ToVisitor[] = [];
  told: LiveAnswer | null = null;

  constructor(link: Link, id: string) {
    this.link = link;
    this.id = id;
  }

  tell(frame: ToOperator): void {
    if (!this.link.deaf) this.link.down.push(structuredClone(frame));
  }

  #put(frame: ToVisitor): void {
    this.link.down.push(structuredClone({ type: "conversation.frame", conversation_id: this.id, frame } as ToOperator));
  }

  deliver(frame: ToVisitor): void {
    if (this.link.deaf) return;
    if (this.asked) this.held.push(frame);
    else if (!durable(frame)) {
      if (!this.#isTold(frame)) this.#put(frame);
    } else if (frame.seq === this.seq + 1) {
      this.seq++;
      this.#put(frame);
    } else if (frame.seq > this.seq) this.resync();
  }

  #isTold(frame: ToVisitor): boolean {
    if (!this.told || frame.type !== "message.delta" || frame.turn_id !== this.told.turn_id) return false;
    if (frame.gen < this.told.gen || (frame.gen === this.told.gen && frame.n <= this.told.n)) return true;
    this.told = null;
    return false;
  }

  begin(watch: Watch | null): void {
    if (watch || !this.asked) {
      this.asked = { watch };
      this.recovery = null;
      this.held = [];
    } else this.again = true;
  }

  resync(): void {
    this.begin(null);
  }

  /** The reading goes on by a step; false: there is none. */
  serve(): boolean {
    const { asked, recovery } = this;
    if (!asked) return false;
    const desk = this.link.server.desks.get(this.id)!;
    if (!recovery) {
      const { watch } = asked;
      this.recovery = desk.recover(watch ? (watch.epoch ?? null) : desk.epoch, watch ? (watch.last_seq ?? null) : this.seq);
      return true;
    }
    if (asked.watch) this.#greet(recovery);
    this.asked = this.recovery = null;
    this.seq = recovery.upTo;
    for (const event of recovery.events) this.#put(event);
    if (recovery.snapshot) this.#put({ ...recovery.snapshot, type: "snapshot" });
    this.told = recovery.snapshot?.live ?? null;
    const { held } = this;
    this.held = [];
    for (const frame of held) this.deliver(frame);
    if (this.again) {
      this.again = false;
      this.resync();
    }
    return true;
  }

  #greet({ resumed, upTo }: Recovery): void {
    const { desks, whispers } = this.link.server;
    this.link.down.push(
      structuredClone({
        type: "conversation.watched",
        conversation_id: this.id,
        client_id: 1,
        epoch: desks.get(this.id)!.epoch,
        head_seq: upTo,
        resumed,
        whispers: whispers.get(this.id)!,
      } as ToOperator),
    );
  }
}

/** One socket: both ends of it, and the network between. */
export class Link extends FakeSocket {
  readonly server: Server;
  up: FromOperator[] = [];
  down: ToOperator[] = [];
  opened = false;
  greeted = false;
  /** Nothing arrives any more, and nobody is told. */
  swallowed = false;
  /** Redis loses what is published for this instance. */
  deaf = false;
  watches = new Map<string, Reader>();
  /** The inbox is listened to; rows wait here while its page is read. */
  inbox = false;
  page: InboxRow[] | null = null;
  #late: InboxRow[] = [];
  /** What has arrived of what may come twice. */
  arrived: ToOperator[] = [];

  constructor(server: Server) {
    super();
    this.server = server;
    server.links.add(this);
  }

  override send(text: string): void {
    super.send(text);
    this.up.push(JSON.parse(text) as FromOperator);
  }

  override close(): void {
    super.close();
    this.server.links.delete(this);
  }

  accept(): void {
    this.opened = true;
    this.open();
  }

  /** Closed from the other side. */
  end(code: number): void {
    this.server.links.delete(this);
    this.closed = true;
    this.drop(code);
  }

  row(row: InboxRow): void {
    if (!this.inbox || this.deaf) return;
    const told = structuredClone(row);
    if (this.page) this.#late.push(told);
    else this.down.push({ type: "inbox.updated", rows: [told] });
  }

  /** Redis is back: whatever was missed is read. */
  hears(): void {
    this.deaf = false;
    for (const reader of this.watches.values()) reader.resync();
    this.readInbox();
  }

  readInbox(): void {
    if (this.inbox && !this.page) this.page = structuredClone(this.server.inbox().slice(0, ROWS + 1));
  }

  /** The server does one thing for this socket; false: there is nothing to do. */
  serve(): boolean {
    if (this.page) {
      this.down.push({ type: "inbox.page", rows: this.page.slice(0, ROWS), more: this.page.length > ROWS });
      for (const row of this.#late) this.down.push({ type: "inbox.updated", rows: [row] });
      this.page = null;
      this.#late = [];
      return true;
    }
    if ([...this.watches.values()].some((reader) => reader.serve())) return true;
    const frame = this.swallowed ? undefined : this.up.shift();
    if (frame) this.#take(frame);
    return !!frame;
  }

  #take(frame: FromOperator): void {
    const { server } = this;
    switch (frame.type) {
      case "hello":
        this.greeted = true;
        this.down.push({
          type: "welcome",
          v: 1,
          operator: { id: 1, name: "Olga" },
          role: "operator",
          heartbeat_s: 25,
          limits: { message_characters: 5000, frame_bytes: 65536 },
          watches: WATCHES,
        });
        break;
      case "inbox.watch":
        this.inbox = true;
        this.readInbox();
        break;
      case "conversation.watch":
        this.#watch(frame);
        break;
      case "conversation.unwatch":
        this.watches.delete(frame.conversation_id);
        this.down.push({ type: "command.done", conversation_id: frame.conversation_id, command: frame.type });
        break;
      case "message.send":
        this.#reply(frame.conversation_id, frame.cid, frame.text);
        break;
      case "ping": {
        const heads = Object.fromEntries([...this.watches.keys()].map((id) => [id, server.desks.get(id)!.journal.length]));
        this.down.push({ type: "pong", t: frame.t, heads });
        for (const [id, reader] of this.watches) if (heads[id]! > reader.seq) reader.resync();
        break;
      }
      case "typing.set":
        break;
      default:
        this.#command(frame);
    }
  }

  #watch(frame: Watch): void {
    const { conversation_id: id } = frame;
    if (this.server.rough && this.server.random(10) === 0) {
      this.down.push({ type: "error", code: "unavailable", message: "A moment", temporary: true, conversation_id: id, command: frame.type, retry_after_ms: 2000 });
      return;
    }
    const reader = this.watches.get(id) ?? new Reader(this, id);
    this.watches.set(id, reader);
    reader.begin(frame);
  }

  #reply(id: string, cid: string, text: string): void {
    const { server } = this;
    const desk = server.desks.get(id)!;
    if (server.rough && server.random(12) === 0) return; // lost with whoever was about to answer
    if (desk.stored(cid) === null && server.random(12) === 0) {
      server.refused.add(cid);
      this.down.push({ type: "nack", conversation_id: id, cid, code: "not_yours", message: "Take it first" });
      return;
    }
    const away = server.rough && server.random(4) === 0;
    // The commit may have gone through though its answer was lost.
    if (!away || server.random(2)) {
      const { id: message_id, seq } = desk.reply(cid, text);
      if (!away) this.down.push({ type: "ack", conversation_id: id, cid, message_id, seq });
    }
    if (away) this.down.push({ type: "nack", conversation_id: id, cid, code: "unavailable", message: "A moment", retry_after_ms: 2000 });
  }

  #command(frame: Extract<FromOperator, { conversation_id: string }>): void {
    const { conversation_id } = frame;
    if (this.server.random(4) === 0) {
      this.down.push({ type: "error", code: "taken", message: "Ana has it", temporary: false, conversation_id, command: frame.type });
      return;
    }
    if (frame.type === "whisper.send") this.server.whisper(conversation_id, frame.text);
    this.down.push({ type: "command.done", conversation_id, command: frame.type });
  }

  arrive(some: number): void {
    while (some-- > 0 && this.down.length && !this.closed && !this.swallowed) {
      const frame = this.down.shift()!;
      if (frame.type === "conversation.frame" || frame.type === "inbox.updated" || frame.type === "whisper.recorded") this.arrived.push(frame);
      this.say(structuredClone(frame));
    }
  }
}
