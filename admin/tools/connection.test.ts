import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, configOf, firstAnswers, told } from "./connection.ts";

test("an API with a bearer token", () => {
  const answers = { ...firstAnswers("custom_api"), api_url: " https://api.example.com ", "auth.type": "bearer", "auth.token": " t ", rate_limit: "60" };
  assert.deepEqual(configOf("custom_api", answers), { api_url: "https://api.example.com", auth: { type: "bearer", token: " t " }, rate_limit: 60 });
});

test("what belongs to another way of signing in is neither asked nor sent", () => {
  const answers = { ...firstAnswers("custom_api"), api_url: "https://a.example", "auth.token": "left over" };
  assert.deepEqual(configOf("custom_api", answers), { api_url: "https://a.example", auth: { type: "none" } });
  assert.ok(!asked("custom_api", answers).some(({ path }) => path === "auth.token"));
});

test("a shop by its token, and by its app", () => {
  const shop = { ...firstAnswers("shopify"), shop: "bobs.myshopify.com", access_token: "shpat_1", client_id: "i", client_secret: "s" };
  assert.deepEqual(configOf("shopify", shop), { shop: "bobs.myshopify.com", access_token: "shpat_1" });
  assert.deepEqual(configOf("shopify", { ...shop, how: "app" }), { shop: "bobs.myshopify.com", client_id: "i", client_secret: "s" });
});

test("a database without what is usual", () => {
  const answers = { ...firstAnswers("mysql_database"), host: "db.example", database: "shop", user: "reader", password: "p" };
  assert.deepEqual(configOf("mysql_database", answers), { host: "db.example", database: "shop", user: "reader", password: "p", tls: "verify" });
  assert.deepEqual(configOf("mysql_database", { ...answers, tls: "off", port: "3307", ca: "PEM" }), { host: "db.example", port: 3307, database: "shop", user: "reader", password: "p", tls: "off" });
});

test("a connection reads as it was asked for", () => {
  assert.deepEqual(told("custom_api", "auth.type", "bearer"), ["Signing in", "Bearer token"]);
  assert.deepEqual(told("postgres_database", "tls", "verify"), ["Encryption", "TLS, the server's certificate is checked"]);
  assert.deepEqual(told("custom_api", "retry_after", [1, 2]), ["Retry after", "1, 2"]);
});
