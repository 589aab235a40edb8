import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import type { ConversationPage, ConversationRow } from "../../core/api.gen.ts";
import { createInboxStore, EMPTY_INBOX, type InboxStore } from "./inbox_store.ts";
import { ANY, merge, moment, order, place, type Filter, type Row } from "./rows.ts";
import { createSources } from "./source.ts";

const START = Date.parse("2026-01-01T10:00:00Z");
const at = (second: number) => new Date(START + second * 1000).toISOString();

let store: InboxStore;
let waits: string[];
let reads: { filter: Filter; before: string | null; limit: number; give(page: ConversationPage): void; refuse(): void }[];

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: START });
  waits = [];
  reads = [];
  store = createInboxStore(
    createSources((run) => run())(EMPTY_INBOX),
    (filter, before, limit) => new Promise((give, refuse) => reads.push({ filter, before, limit, give, refuse: () => refuse(new Error("down")) })),
    (row) => waits.push(row.conversation_id),
  );
});

/** As the socket tells it. */
const live = (id: string, second: number, more: Partial<Row> = {}): Row => ({
  conversation_id: id,
  client_id: 1,
  seq: second,
  owner: "ai",
  last_activity_at: at(second),
  preview: `${id} ${second}`,
  ...more,
});

/** As the list's route tells it. */
const listed = (id: string, second: number, more: Partial<ConversationRow> = {}): ConversationRow => ({
  ...(live(id, second) as ConversationRow),
  preview_role: "user",
  operator: null,
  waiting_since: null,
  visitor_name: `Name of ${id}`,
  channel: "widget",
  rating: null,
  message_count: 1,
  cost: "0",
  ...more,
});

const settled = async () => {
  for (let i = 0; i < 6; i++) await null;
};
const give = async (rows: ConversationRow[], before: string | null = null) => {
  reads.shift()!.give({ rows, before });
  await settled();
};
const shown = () => store.view.get().rows.map((row) => row.conversation_id);
const update = (...rows: Row[]) => store.receive({ type: "inbox.updated", rows });

async function begin(rows: ConversationRow[], before: string | null = null): Promise<void> {
  store.show(ANY);
  await give(rows, before);
}

test("it shows a page, and its rows move up as something happens in them", async () => {
  store.show(ANY);
  assert.equal(store.view.get().loading, true);
  await give([listed("b", 2), listed("a", 1)]);
  assert.equal(store.view.get().loading, false);
  assert.deepEqual(shown(), ["b", "a"]);
  update(live("a", 3));
  assert.deepEqual(shown(), ["a", "b"]);
  const [row] = store.view.get().rows;
  assert.deepEqual([row?.preview, row?.visitor_name], ["a 3", "Name of a"], "what the socket does not tell stays");
});

test("an older telling changes nothing, whichever way it comes", async () => {
  await begin([listed("a", 5)]);
  update(live("a", 4, { owner: "human" }));
  assert.equal(store.view.get().rows[0]?.owner, "ai");
  store.reload();
  await give([listed("a", 3, { owner: "closed" })]);
  assert.deepEqual([store.view.get().rows[0]?.owner, store.view.get().rows[0]?.seq], ["ai", 5]);
});

test("an update without a preview leaves the one that was", async () => {
  await begin([listed("a", 1)]);
  update(live("a", 2, { preview: undefined, owner: "human", operator: { id: 7, name: "Ana" } }));
  assert.deepEqual([store.view.get().rows[0]?.preview, store.view.get().rows[0]?.operator?.name], ["a 1", "Ana"]);
  update(live("a", 3));
  assert.equal(store.view.get().rows[0]?.operator, null);
});

test("a new conversation comes in at the top, and its details are asked for once for many", async () => {
  await begin([listed("a", 1)]);
  update(live("b", 2));
  update(live("c", 3));
  assert.deepEqual(shown(), ["c", "b", "a"]);
  assert.equal(reads.length, 0);
  mock.timers.tick(1500);
  assert.equal(reads.length, 1);
  await give([listed("c", 3), listed("b", 2), listed("a", 1)]);
  assert.deepEqual(store.view.get().rows.map((row) => row.visitor_name), ["Name of c", "Name of b", "Name of a"]);
});

test("a row leaves a filter's list when it no longer fits, and comes back when it does again", async () => {
  store.show({ ...ANY, owner: "queued" });
  await give([listed("a", 1, { owner: "queued" })]);
  update(live("a", 2, { owner: "human" }), live("b", 3));
  assert.deepEqual(shown(), []);
  update(live("b", 4, { owner: "queued" }));
  update(live("a", 5, { owner: "queued" }));
  assert.deepEqual(shown(), ["a", "b"]);
});

test("what words find only the server knows: new rows do not come in by themselves, known ones change", async () => {
  store.show({ ...ANY, q: "oven" });
  await give([listed("a", 1)]);
  update(live("b", 2), live("a", 3));
  assert.deepEqual(shown(), ["a"]);
  assert.equal(store.view.get().rows[0]?.preview, "a 3");
});

test("another filter begins anew, and what is read for the one before is nobody's", async () => {
  store.show(ANY);
  const late = reads.shift()!;
  store.show({ ...ANY, client_id: 2 });
  await give([listed("z", 9, { client_id: 2 })]);
  late.give({ rows: [listed("a", 1)], before: null });
  await settled();
  assert.deepEqual(shown(), ["z"]);
  store.show({ ...ANY, client_id: 2 });
  assert.equal(reads.length, 0, "the same one is not read again");
});

test("older pages come by the cursor, one at a time, and end", async () => {
  await begin([listed("d", 4), listed("c", 3)], "after-c");
  store.next();
  store.next();
  assert.deepEqual(reads.map((read) => read.before), ["after-c"]);
  assert.equal(store.view.get().loadingMore, true);
  update(live("b", 5)); // it moves to the top while its page is on its way
  await give([listed("b", 2), listed("a", 1)]);
  assert.deepEqual(shown(), ["b", "d", "c", "a"]);
  assert.deepEqual([store.view.get().more, store.view.get().loadingMore], [false, false]);
  store.next();
  assert.equal(reads.length, 0);
});

test("a page that cannot be read says so and is read when asked for again", async () => {
  await begin([listed("b", 2)], "after-b");
  store.next();
  reads.shift()!.refuse();
  await settled();
  assert.match(String(store.view.get().error), /down/);
  store.next();
  assert.equal(store.view.get().error, null);
  await give([listed("a", 1)]);
  assert.deepEqual(shown(), ["b", "a"]);
});

/** Of the reads that a socket's page leads to, the one of the list; another asks who waits. */
const ofList = () => reads.filter((read) => read.filter.waiting === null);

test("after a loss the socket's page is enough where it reaches back to what was known", async () => {
  await begin([listed("a", 100)]);
  store.receive({ type: "inbox.page", rows: [live("b", 200), live("c", 20)], more: true });
  assert.equal(ofList().length, 0);
  assert.deepEqual(shown(), ["b", "a", "c"]);
});

test("where it does not reach back, the list is read anew, with what came in meanwhile", async () => {
  await begin([listed("a", 100), listed("gone", 90, { owner: "ai" })]);
  store.receive({ type: "inbox.page", rows: [live("c", 400), live("b", 300)], more: true });
  const [read] = ofList();
  assert.ok(read);
  update(live("d", 500));
  read.give({ rows: [listed("c", 400), listed("b", 300), listed("m", 250)], before: "after-m" });
  await settled();
  assert.deepEqual(shown(), ["d", "c", "b", "m"]);
});

test("a reading anew that failed is made up for at the next page, even if that one reaches back", async () => {
  await begin([listed("a", 100)]);
  store.receive({ type: "inbox.page", rows: [live("c", 400)], more: true });
  ofList()[0]!.refuse();
  await settled();
  reads = [];
  store.receive({ type: "inbox.page", rows: [live("c", 400), live("a", 100)], more: true });
  assert.equal(ofList().length, 1);
});

test("who waits is known whatever the filter, the longest first", async () => {
  store.show({ ...ANY, owner: "closed" });
  await give([]);
  store.receive({ type: "inbox.page", rows: [live("a", 5)], more: false });
  const who = reads.find((read) => read.filter.waiting === true)!;
  who.give({ rows: [listed("w", 2, { owner: "queued", waiting_since: at(2) })], before: null });
  await settled();
  update(live("v", 6, { owner: "queued", waiting_since: at(6) }));
  const ids = () => store.view.get().waiting.map((row) => row.conversation_id);
  assert.deepEqual(ids(), ["w", "v"]);
  update(live("w", 7, { owner: "human" }));
  assert.deepEqual(ids(), ["v"]);
});

test("it is told once of each visitor who begins to wait, and not of those who waited when it began", async () => {
  await begin([listed("old", 1, { owner: "queued", waiting_since: at(1) })]);
  assert.deepEqual(waits, []);
  update(live("new", 2, { owner: "queued", waiting_since: at(2) }));
  update(live("new", 3, { owner: "queued", waiting_since: at(2) }));
  update(live("old", 4, { owner: "queued", waiting_since: at(1) }));
  assert.deepEqual(waits, ["new"]);
  update(live("new", 5, { owner: "human" }));
  update(live("new", 6, { owner: "human", waiting_since: at(6) }));
  assert.deepEqual(waits, ["new", "new"]);
});

test("times compare as texts, with and without parts of a second", () => {
  const times = ["2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000001Z", "2026-01-01T10:00:00.1Z", "2026-01-01T10:00:00.100002Z", "2026-01-01T10:00:01Z"];
  assert.deepEqual([...times].sort((a, b) => (moment(a) < moment(b) ? -1 : 1)), times);
  assert.equal(moment("2026-01-01T10:00:00+00:00"), moment("2026-01-01T10:00:00Z"));
});

test("rows put into a list stand as if all were sorted, ten thousand of them too", () => {
  const rows = Array.from({ length: 10_000 }, (_, i) => live(`c${i}`, 20_000 - 2 * i)).sort(order);
  const moved = [live("c5000", 50_000), live("c1", 7), live("new", 10_001)];
  const began = performance.now();
  const next = place(rows, new Map<string, Row | null>([...moved.map((row) => [row.conversation_id, row] as const), ["c7", null]]));
  assert.ok(performance.now() - began < 200);
  const changed = new Set(["c5000", "c1", "c7"]);
  assert.deepEqual(next, [...rows.filter((row) => !changed.has(row.conversation_id)), ...moved].sort(order));
});

test("the same row told twice is the same object", () => {
  const row = listed("a", 1);
  assert.equal(merge(row, live("a", 1)), row);
  assert.equal(merge(row, live("a", 0)), row);
  assert.deepEqual(merge(live("a", 2), listed("a", 1)).seq, 2);
  assert.equal(merge(live("a", 2), listed("a", 1)).visitor_name, "Name of a");
});
