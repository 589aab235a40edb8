import assert from "node:assert/strict";
import { test } from "node:test";
import type { OperatorInfo } from "../core/api.gen.ts";
import { rolesFor, withRole } from "./roles.ts";

const me = (role: OperatorInfo["role"], client_id: number | null): OperatorInfo => ({
  id: 1,
  email: "ana@example.com",
  name: "Ana",
  role,
  client_id,
  avatar_url: null,
});

test("only an owner makes owners", () => {
  assert.ok(rolesFor(me("owner", null)).includes("owner"));
  assert.ok(!rolesFor(me("admin", null)).includes("owner"));
  assert.ok(!rolesFor(me("admin", 3)).includes("owner"));
});

test("an owner serves all clients, whatever was chosen before", () => {
  assert.deepEqual(withRole({ role: "operator", client_id: 7 }, "owner", me("owner", null)), { role: "owner", client_id: null });
});

test("a chosen client stays with another role", () => {
  assert.deepEqual(withRole({ role: "operator", client_id: 7 }, "admin", me("owner", null)), { role: "admin", client_id: 7 });
});

test("who serves one client can only make staff of it", () => {
  assert.deepEqual(withRole({ role: "operator", client_id: null }, "admin", me("admin", 3)), { role: "admin", client_id: 3 });
});
