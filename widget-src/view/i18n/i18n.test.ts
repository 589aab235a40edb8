import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { EN, type Strings } from "./en.ts";
import { fill, speech } from "./index.ts";

const read = (language: string) => JSON.parse(readFileSync(new URL(`./${language}.json`, import.meta.url), "utf8")) as Strings;
const LANGUAGES = readdirSync(new URL(".", import.meta.url)).flatMap((name) => /^(\w+)\.json$/.exec(name)?.[1] ?? []);

const places = (text: string) => (text.match(/\{\w+\}/g) ?? []).join();

test("the languages promised are there", () => {
  assert.deepEqual(LANGUAGES.sort(), ["ar", "de", "es", "fr", "he"]);
});

for (const language of LANGUAGES) {
  test(`${language} has every sentence of the English, in its order, with the same places for values`, () => {
    const strings = read(language);
    assert.deepEqual(Object.keys(strings), Object.keys(EN));
    for (const [key, english] of Object.entries(EN)) {
      const text: unknown = strings[key as keyof Strings];
      assert.ok(typeof text === "string" && text && text === text.trim(), key);
      assert.equal(places(text), places(english), key);
      // A sentence ends as one in every language, a label never does.
      assert.equal(/[.…]$/.exec(text)?.[0], /[.…]$/.exec(english)?.[0], key);
    }
  });
}

test("words come with their locale, and without words it is English", () => {
  const german = speech("de-AT", read("de"));
  assert.deepEqual([german.t.send, german.language, german.rtl], ["Senden", "de-AT", false]);
  for (const locale of ["pt-BR", "fa", "x y", "", "en_US", "en-US-"]) {
    const { t, language, rtl } = speech(locale);
    assert.deepEqual([t.send, language, rtl], ["Send", "en", false], locale);
  }
  assert.equal(speech("en-GB").language, "en-GB");
  assert.deepEqual(["ar-EG", "he", "iw", "es"].map((l) => speech(l, read("he")).rtl), [true, true, true, false]);
});

test("a word that a server of another version does not know is English", () => {
  const { t } = speech("de", { send: "Senden" });
  assert.deepEqual([t.send, t.stop], ["Senden", "Stop"]);
});

test("days and times in the language's own words, and nothing for no date", () => {
  const { day, time } = speech("de", read("de"));
  assert.equal(day(Date.now()), "heute");
  assert.equal(day(Date.now() - 86_400_000), "gestern");
  assert.equal(time("2026-01-01T10:05:00"), "10:05");
  assert.deepEqual([time(""), time("x"), day("x")], ["", "", ""]);
});

test("a wait is counted down in the unit that fits", () => {
  const { ahead } = speech("en");
  const said = [500, 41_001, 119_000, 120_000, 5_400_000, 7_200_000, 10 * 86_400_000].map(ahead);
  assert.deepEqual(said, ["in 1 second", "in 42 seconds", "in 119 seconds", "in 2 minutes", "in 90 minutes", "in 2 hours", "in 10 days"]);
  assert.equal(speech("he", read("he")).ahead(42_000), "בעוד 42 שניות");
});

test("a value is put in as it is", () => {
  assert.equal(fill("{name} is here", "$& {x}"), "$& {x} is here");
});
