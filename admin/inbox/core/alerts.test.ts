import assert from "node:assert/strict";
import { test } from "node:test";
import { createAlerts, SILENT } from "./alerts.ts";
import type { Row } from "./rows.ts";
import { createSources } from "./source.ts";

const ROW = { conversation_id: "cnv_a" } as Row;

function alerts({ stored = null as string | null, granted = true, looks = false, broken = false } = {}) {
  const heard: string[] = [];
  const area = {
    getItem: () => stored,
    setItem: (_: string, value: string) => {
      if (broken) throw new Error("full");
      stored = value;
    },
  };
  const made = createAlerts(createSources((run) => run())(SILENT), {
    area: () => area,
    beep: () => heard.push("beep"),
    notify: (row) => heard.push(`notify ${row.conversation_id}`),
    permit: () => Promise.resolve(granted),
    looksAt: () => looks,
  });
  return { made, heard, stored: () => stored };
}

test("nobody is alerted who did not ask for it", () => {
  const { made, heard } = alerts();
  made.waits(ROW);
  assert.deepEqual(heard, []);
});

test("who asked for it hears and sees it, also after a reload", async () => {
  const first = alerts();
  first.made.sound(true);
  assert.equal(await first.made.notify(true), true);
  assert.deepEqual(first.heard, ["beep"], "so does the click that turns it on");
  const second = alerts({ stored: first.stored() });
  second.made.waits(ROW);
  assert.deepEqual(second.heard, ["beep", "notify cnv_a"]);
});

test("whoever looks at the conversation is left alone", () => {
  const { made, heard } = alerts({ stored: '{"sound":true,"notify":true}', looks: true });
  made.waits(ROW);
  assert.deepEqual(heard, []);
});

test("a browser that allows no notifications is believed", async () => {
  const { made } = alerts({ granted: false });
  assert.equal(await made.notify(true), false);
  assert.equal(made.wishes.get().notify, false);
});

test("without storage, or with another's text in it, it lasts as long as the page", () => {
  const { made, heard } = alerts({ stored: "{", broken: true });
  made.sound(true);
  made.waits(ROW);
  assert.deepEqual(heard, ["beep", "beep"]);
});
