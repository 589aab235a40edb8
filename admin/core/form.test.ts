import assert from "node:assert/strict";
import test from "node:test";
import { ApiError } from "./api.ts";
import { differences, merge, same } from "./differ.ts";
import { errorOf, FormModel, type FormOptions, nullable } from "./form.ts";

interface Shop {
  name: string;
  origins: string[];
  looks: { color: string; size: number | null };
  version: number;
}

const BASE: Shop = { name: "Bob", origins: ["https://a.example"], looks: { color: "#ff0000", size: null }, version: 1 };

function open(options: Partial<FormOptions<Shop>>) {
  const told = { changes: 0 };
  const whole: FormOptions<Shop> = { value: BASE, save: async (value) => value, ...options };
  return { form: new FormModel<Shop>(() => whole, () => void told.changes++), told };
}

const refused = (code: string, message: string, field?: string) => async () => {
  throw new ApiError(422, { code, message, field });
};

test("the same JSON is the same", () => {
  assert.ok(same({ a: [1, { b: null }], c: undefined }, { a: [1, { b: null }] }));
  assert.ok(!same({ a: [1, 2] }, { a: [2, 1] }));
  assert.ok(!same({ a: null }, { a: 0 }));
  assert.ok(!same([], {}));
});

test("a field changes its value; a changed value is dirty until it is what it was", () => {
  const { form, told } = open({});
  assert.equal(form.dirty, false);
  form.field("name").onChange("Jane");
  assert.deepEqual([form.value.name, form.dirty, told.changes], ["Jane", true, 1]);
  form.field("name").onChange("Bob");
  assert.equal(form.dirty, false);
});

test("a nested field has the server's name for it", () => {
  const { form } = open({});
  const color = form.part("looks").field("color");
  assert.equal(color.name, "looks.color");
  color.onChange("#00ff00");
  assert.deepEqual(form.value.looks, { color: "#00ff00", size: null });
  assert.equal(BASE.looks.color, "#ff0000");
});

test("null is shown as empty, and empty is null", () => {
  const given: (string | null)[] = [];
  const field = nullable({ name: "x", value: null, onChange: (value) => given.push(value), error: null });
  assert.equal(field.value, "");
  field.onChange("a");
  field.onChange("");
  assert.deepEqual(given, ["a", null]);
});

test("what is saved is the new base, and what was typed meanwhile is still to be saved", async () => {
  let typed = () => {};
  const { form } = open({
    save: async (value) => {
      typed();
      return { ...value, version: 2 };
    },
  });
  form.field("name").onChange("Jane");
  typed = () => form.field("origins").onChange([]);
  assert.equal(await form.submit(), true);
  assert.deepEqual(form.base, { ...BASE, name: "Jane", version: 2 });
  assert.deepEqual(form.value, { ...BASE, name: "Jane", version: 2, origins: [] });
  assert.ok(form.dirty);
});

test("a field's error stands at the field, without its name, and goes with the next change of it", async () => {
  const { form } = open({ save: refused("invalid", "`looks.color`: expected a colour such as #2563eb", "looks.color") });
  form.field("name");
  form.part("looks").field("color");
  assert.equal(await form.submit(), false);
  assert.equal(form.part("looks").field("color").error, "Expected a colour such as #2563eb");
  assert.equal(form.error, null);
  form.field("name").onChange("Jane");
  assert.ok(form.part("looks").field("color").error);
  form.part("looks").field("color").onChange("#00ff00");
  assert.equal(form.part("looks").field("color").error, null);
});

test("an error within a list stands at the list, one of no shown field above the form", async () => {
  const { form } = open({ save: refused("invalid", "`origins[...]`: too long", "origins[...]") });
  form.field("origins");
  await form.submit();
  assert.equal(form.field("origins").error, "Too long");
  const other = open({ save: refused("invalid", "`domain` is missing", "domain") }).form;
  other.field("name");
  await other.submit();
  assert.equal(other.error?.message, "`domain` is missing");
  assert.equal(errorOf({ names: "no" }, "name"), null);
});

test("a second submit while one runs does nothing", async () => {
  let saves = 0;
  const { form } = open({
    save: async () => {
      saves += 1;
    },
  });
  form.field("name").onChange("Jane");
  const [first, second] = await Promise.all([form.submit(), form.submit()]);
  assert.deepEqual([first, second, saves, form.dirty, form.saving], [true, false, 1, false, false]);
});

const THEIRS: Shop = { ...BASE, name: "Robert", looks: { color: "#0000ff", size: 4 }, version: 5 };

function clashing() {
  const sent: Shop[] = [];
  const { form } = open({
    load: async () => THEIRS,
    save: async (value) => {
      sent.push(value);
      if (value.version !== 5) throw new ApiError(409, { code: "changed_meanwhile", message: "Ann changed it at 10:02" });
      return { ...value, version: 6 };
    },
  });
  form.part("looks").field("color").onChange("#00ff00");
  form.field("origins").onChange(["https://b.example"]);
  return { form, sent };
}

test("somebody else's change is shown beside mine, and nothing is lost", async () => {
  const { form } = clashing();
  assert.equal(await form.submit(), false);
  assert.equal(form.clash?.message, "Ann changed it at 10:02");
  const rows = Object.fromEntries(form.clash!.differences.map((each) => [each.path, each.clash]));
  assert.deepEqual(rows, { name: false, origins: false, "looks.color": true, "looks.size": false, version: false });
  form.settle("later");
  assert.equal(form.clash, null);
  assert.equal(form.value.looks.color, "#00ff00");
});

test("mine goes on top of theirs: their other changes stay", async () => {
  const { form, sent } = clashing();
  await form.submit();
  form.settle("mine");
  assert.deepEqual(form.value, { ...THEIRS, origins: ["https://b.example"], looks: { color: "#00ff00", size: 4 } });
  assert.equal(sent.length, 1);
  assert.equal(await form.submit(), true);
  assert.deepEqual([form.base.version, form.dirty], [6, false]);
});

test("theirs alone drops mine", async () => {
  const { form } = clashing();
  await form.submit();
  form.settle("theirs");
  assert.deepEqual([form.value, form.dirty], [THEIRS, false]);
});

test("a newer value from the server is taken where nothing was typed", () => {
  const { form } = open({});
  form.refresh(THEIRS);
  assert.equal(form.value.name, "Robert");
  form.field("name").onChange("Bobby");
  form.refresh(BASE);
  assert.equal(form.value.name, "Bobby");
});

test("merging takes what one side changed, and mine where both did", () => {
  assert.deepEqual(merge({ a: 1, b: 1, c: [1] }, { a: 2, b: 1, c: [1] }, { a: 3, b: 4, c: [2] }), { a: 2, b: 4, c: [2] });
  assert.deepEqual(differences({ a: 1 }, { a: 1 }, { a: 1 }), []);
});
