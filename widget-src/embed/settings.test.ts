import assert from "node:assert/strict";
import { test } from "node:test";
import type { Config } from "../core/protocol.gen.ts";
import { readTag } from "./attributes.ts";
import { resolve, wantedLocale, type Update } from "./settings.ts";

const config: Config = {
  name: "Bob",
  locale: "de",
  widget: { title: "Pizza", position: "left", colors: { primary: "#112233" }, suggestions: ["A", " ", "B"] },
  limits: { message_characters: 4000, frame_bytes: 1 },
};
const settle = (code: Update = {}, attributes: Update = {}, change: Partial<Config> = {}) =>
  resolve(code, attributes, { ...config, ...change }, "https://desk.example");

test("code wins over attribute, attribute over dashboard, dashboard over default", () => {
  assert.equal(settle().position, "left");
  assert.equal(settle({}, { position: "right" }).position, "right");
  assert.equal(settle({ position: "left" }, { position: "right" }).position, "left");
  assert.equal(settle({}, {}, { widget: {} }).position, "right");
  assert.deepEqual([settle().locale, settle({}, { locale: "he" }).locale, settle({ locale: "es" }, { locale: "he" }).locale], ["de", "he", "es"]);
  assert.equal(settle({}, {}, { widget: {} }).title, "Bob");
});

test("the language asked for is the code's, then the attribute's, and only one that is a language", () => {
  assert.equal(wantedLocale({ locale: "es" }, { locale: "he" }), "es");
  assert.equal(wantedLocale({}, { locale: "pt-BR" }), "pt-BR");
  for (const locale of ["", "auto", "עברית", "de_AT", "en&key=x", "a".repeat(40), 5 as unknown as string]) {
    assert.equal(wantedLocale({ locale }, {}), "", locale);
    assert.equal(settle({ locale }).locale, "de", locale);
  }
});

test("values that cannot be are passed over", () => {
  const wrong = { position: "up", theme: 5, radius: -3, title: {}, logo_url: "javascript:alert(1)", colors: { primary: "red;x" }, suggestions: "x" };
  const s = settle(wrong as unknown as Update, {}, { widget: { logo_url: "/l.png" } });
  assert.deepEqual([s.position, s.theme, s.radius, s.title, s.logo_url, s.primary], ["right", "auto", 18, "Bob", "https://desk.example/l.png", "#4f46e5"]);
  assert.deepEqual(settle().suggestions, ["A", "B"]);
  assert.deepEqual([settle().primary, settle().primary_dark, settle().limit], ["#112233", "#112233", 4000]);
});

const tag = (dataset: DOMStringMap) => readTag({ src: "https://desk.example/a/widget.js", nonce: "", dataset });

test("the script tag says the key, and the server is where the script came from", () => {
  const read = tag({ clientKey: "pk_1", position: "left", open: "" });
  assert.deepEqual([read.key, read.api, read.open, read.inline, read.update.position], ["pk_1", "https://desk.example", true, false, "left"]);
  assert.equal(tag({ clientKey: "pk_1", api: "https://other/" }).api, "https://other");
  assert.equal(tag({ clientKey: "pk_1", mode: "inline", target: "#x" }).inline, true);
});

test("a tag that cannot work says why", () => {
  assert.throws(() => tag({}), /data-client-key/);
  assert.throws(() => tag({ clientKey: "sk_secret" }), /data-client-key/);
  assert.throws(() => tag({ clientKey: "pk_1", mode: "inline" }), /data-target/);
  assert.throws(() => tag({ clientKey: "pk_1", mode: "popup" }), /data-mode/);
});
