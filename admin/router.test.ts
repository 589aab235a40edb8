import assert from "node:assert/strict";
import test from "node:test";
import { type Around, createRouter, match } from "./router.ts";

test("a pattern finds its parameters, whole segments only", () => {
  assert.deepEqual(match("/clients/:client_id", "/clients/3"), { client_id: "3" });
  assert.deepEqual(match("/clients/:client_id", "/clients/3/"), { client_id: "3" });
  assert.equal(match("/clients/:client_id", "/clients"), null);
  assert.equal(match("/clients/:client_id", "/clients/3/keys"), null);
  assert.equal(match("/clients/:client_id/keys", "/clients/3/looks"), null);
  assert.equal(match("/client", "/clients"), null);
});

test("an optional parameter may be left out", () => {
  assert.deepEqual(match("/inbox/:id?", "/inbox"), {});
  assert.deepEqual(match("/inbox/:id?", "/inbox/cnv_1"), { id: "cnv_1" });
  assert.equal(match("/inbox/:id?", "/inbox/cnv_1/more"), null);
});

test("parameters are decoded, and what cannot be decoded is no page", () => {
  assert.deepEqual(match("/tools/:name", "/tools/a%2Fb%20c"), { name: "a/b c" });
  assert.equal(match("/tools/:name", "/tools/%E0%A4%A"), null);
});

/** A window's history, as far as the router uses it. `go` tells of its move later, as a browser does. */
class FakeWindow implements Around {
  location = { pathname: "/admin/", search: "", hash: "" };
  entries: { url: string; state: unknown }[] = [{ url: "/admin/", state: null }];
  index = 0;
  private listener = () => {};

  history = {
    pushState: (state: unknown, _: string, url?: string | URL | null) => {
      this.entries = [...this.entries.slice(0, this.index + 1), { url: String(url), state }];
      this.show(this.index + 1);
    },
    replaceState: (state: unknown, _: string, url?: string | URL | null) => {
      this.entries[this.index] = { url: String(url), state };
      this.show(this.index);
    },
    go: (steps?: number) => {
      setImmediate(() => {
        this.show(this.index + (steps ?? 0));
        this.listener();
      });
    },
    state: null as unknown,
  };

  addEventListener(_: "popstate", listener: () => void) {
    this.listener = listener;
  }

  private show(index: number) {
    this.index = index;
    const { url, state } = this.entries[index]!;
    const { pathname, search, hash } = new URL(url, "http://desk.example");
    Object.assign(this.location, { pathname, search, hash });
    this.history.state = state;
  }
}

const settled = async () => {
  for (let i = 0; i < 10; i++) await new Promise((done) => setImmediate(done));
};

test("going somewhere changes the place and the address; the query alone is no move", async () => {
  const around = new FakeWindow();
  const router = createRouter(around);
  const seen: string[] = [];
  router.place.subscribe(() => seen.push(router.place.get().path));
  await router.navigate("/clients/3?tab=keys");
  assert.equal(router.place.get().path, "/clients/3");
  assert.equal(router.place.get().query.get("tab"), "keys");
  assert.equal(around.location.pathname, "/admin/clients/3");
  await router.navigate("/clients/3?tab=looks", { replace: true });
  assert.equal(router.moves(), 1);
  assert.equal(around.entries.length, 2);
  around.history.go(-1);
  await settled();
  assert.equal(router.place.get().path, "/");
  assert.deepEqual(seen, ["/clients/3", "/clients/3", "/"]);
});

test("a guard that says no keeps the page, by a link and by the browser's own buttons", async () => {
  const around = new FakeWindow();
  const router = createRouter(around);
  await router.navigate("/clients");
  await router.navigate("/clients/3");
  let answer = false;
  let asked = 0;
  const lift = router.guard(() => {
    asked += 1;
    return answer;
  });
  await router.navigate("/inbox");
  assert.equal(router.place.get().path, "/clients/3");
  around.history.go(-1);
  await settled();
  assert.equal(router.place.get().path, "/clients/3");
  assert.equal(around.location.pathname, "/admin/clients/3");
  assert.equal(asked, 2);
  await router.navigate("/clients/3?tab=keys"); // the same page is not left
  assert.equal(asked, 2);
  answer = true;
  around.history.go(-2);
  await settled();
  assert.equal(asked, 3);
  assert.equal(router.place.get().path, "/clients");
  lift();
});

test("without a guard the browser's buttons go where they go", async () => {
  const around = new FakeWindow();
  const router = createRouter(around);
  await router.navigate("/clients");
  const lift = router.guard(() => false);
  lift();
  await router.navigate("/inbox");
  around.history.go(-2);
  await settled();
  assert.equal(router.place.get().path, "/");
  around.history.go(2);
  await settled();
  assert.equal(router.place.get().path, "/inbox");
});
