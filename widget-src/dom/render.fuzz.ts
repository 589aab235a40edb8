/**
 * Preact and the widget's own renderer side by side: random trees, random updates, and the same page after each.
 * tests/browser/test_renderer.py bundles it and runs it in a browser.
 *
 * Tidy trees are what JSX makes: lists with keys, and places that are always there and may be empty. In those, all is
 * compared: the DOM, which elements stay, what is called back. In wild ones any child may stand anywhere without a key, and
 * each renderer may keep what it likes, so the DOM and its listeners are compared.
 */

import * as preact from "preact";
import * as ours from "./render.ts";

interface Lib {
  h(type: unknown, props: object | null, ...children: unknown[]): object;
  render(node: object | null, root: Element): void;
  Component: new (props: never) => object;
}

/** A place where at times a tree stands. */
interface Hole {
  hole: Spec;
}

type Kid = Spec | Hole | Kid[] | string | number | boolean | null | undefined;

const isSpec = (kid: Kid): kid is Spec => typeof kid === "object" && kid !== null && "tag" in kid;
const isHole = (kid: Kid): kid is Hole => typeof kid === "object" && kid !== null && "hole" in kid;

/** A tree before it is one library's. */
interface Spec {
  tag: string;
  key?: string;
  /** Of a component, the tree that it renders; else children. */
  kids: Kid[];
  component: boolean;
  props: Record<string, unknown>;
  /** Its listener's and its ref's name in the log. */
  click?: string;
  ref?: string;
}

const HTML = ["div", "p", "span", "button", "ul", "input", "textarea", "a"];
const VOID = new Set(["input", "textarea"]);
const SVG = ["g", "path", "circle"];

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Trees {
  private made = 0;
  private readonly random: () => number;
  private readonly tidy: boolean;

  constructor(random: () => number, tidy: boolean) {
    this.random = random;
    this.tidy = tidy;
  }

  chance(part: number): boolean {
    return this.random() < part;
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  private text(): string | number {
    return this.pick(["", "text", "<b>&amp;</b>", "שלום", "😀", " ", 0, 7, "a\nb"]);
  }

  props(tag: string, svg: boolean): Record<string, unknown> {
    const props: Record<string, unknown> = {};
    const maybe = (name: string, ...values: unknown[]) => {
      if (this.chance(0.3)) props[name] = this.pick(values);
    };
    maybe("class", "a", "a b", "c");
    maybe("data-x", "1", "", 5, true, false, null, undefined);
    maybe("aria-label", "label", "\"<&", false, true);
    if (svg) {
      maybe("width", 20, "2em");
      maybe("viewBox", "0 0 24 24", "0 0 1 1");
      maybe("d", "M0 0h1", "M1 1v2");
      return props;
    }
    maybe("title", "t", "u", undefined, null);
    maybe("dir", "auto", "rtl", undefined);
    maybe("tabIndex", 0, -1);
    maybe("hidden", true, false);
    maybe("style", "--x:1px;color:red", "color:blue", "--y:2;--x:3px", undefined, null);
    if (tag === "button") maybe("disabled", true, false, undefined);
    if (tag === "a") maybe("href", "https://a.example/", "/b", undefined);
    if (VOID.has(tag)) props.value = this.pick(["", "typed", "other"]);
    return props;
  }

  element(depth: number, svg = false, tag?: string): Spec {
    const name = "n" + this.made++;
    const own = tag ?? (svg ? this.pick(SVG) : this.chance(0.12) ? "svg" : this.pick(HTML));
    const inSvg = svg || own === "svg";
    const component = !inSvg && depth > 0 && this.chance(0.15);
    const spec: Spec = { tag: own, kids: [], component, props: this.props(own, inSvg) };
    if (this.chance(0.3)) spec.click = name;
    // A component of Preact may have a ref; in ours it has none.
    if (this.tidy && !component && this.chance(0.25)) spec.ref = name;
    if (component) spec.kids = [this.element(depth - 1)];
    else if (!VOID.has(own) && depth > 0) spec.kids = this.list(depth - 1, inSvg);
    return spec;
  }

  list(depth: number, svg: boolean): Kid[] {
    const kids: Kid[] = [];
    const keyed = this.chance(0.5);
    for (let n = this.below(6); n > 0; n--) kids.push(keyed ? this.keyed(depth, svg) : this.kid(depth, svg));
    return kids;
  }

  keyed(depth: number, svg: boolean): Spec {
    return { ...this.element(depth, svg), key: "k" + this.made++ };
  }

  private kid(depth: number, svg: boolean): Kid {
    if (this.chance(0.1)) return this.pick([null, undefined, true, false]);
    if (this.chance(0.1)) return { hole: this.element(depth, svg) };
    if (this.chance(0.3)) return this.text();
    if (depth > 0 && this.chance(0.15)) return this.list(depth - 1, svg);
    return this.element(depth, svg);
  }

  /** Another tree of the same kind; what does not change is the same object. */
  next(spec: Spec, depth: number, svg = false): Spec {
    if (this.chance(0.3)) return spec;
    const inSvg = svg || spec.tag === "svg";
    const changed = { ...spec };
    if (this.chance(0.5)) changed.props = this.props(spec.tag, inSvg);
    if (this.chance(0.1)) changed.click = changed.click ? undefined : "n" + this.made++;
    if (this.tidy && !spec.component && this.chance(0.1)) changed.ref = this.chance(0.5) ? undefined : "n" + this.made++;
    if (spec.component) {
      // What it renders may become another element.
      const [inner] = spec.kids as [Spec];
      changed.kids = [this.chance(0.2) ? this.another(inner, depth - 1, svg) : this.next(inner, depth - 1, svg)];
    } else if (!VOID.has(spec.tag)) changed.kids = this.nextList(spec.kids, depth - 1, inSvg);
    return changed;
  }

  /** A tree of another type. One of the same type and another shape would be wild. */
  private another(spec: Spec, depth: number, svg: boolean): Spec {
    const other = this.element(Math.max(0, depth), svg);
    return other.component || spec.component || other.tag === spec.tag ? spec : other;
  }

  private nextList(kids: Kid[], depth: number, svg: boolean): Kid[] {
    if (kids.length && kids.every((kid) => isSpec(kid) && kid.key !== undefined)) return this.nextKeyed(kids as Spec[], depth, svg);
    if (!this.tidy && this.chance(0.3)) return this.list(Math.max(0, depth), svg);
    const places = kids.map((kid) => this.nextKid(kid, depth, svg));
    if (!this.tidy && this.chance(0.3)) places.splice(this.below(places.length + 1), this.below(2), this.kid(Math.max(0, depth), svg));
    return places;
  }

  private nextKid(kid: Kid, depth: number, svg: boolean): Kid {
    if (!this.tidy && this.chance(0.15)) return this.kid(Math.max(0, depth), svg);
    if (Array.isArray(kid)) return this.nextList(kid, depth, svg);
    // A place is emptied, or what stood there comes back.
    if (isHole(kid)) return this.chance(0.4) ? this.next(kid.hole, depth, svg) : kid;
    if (isSpec(kid)) return this.chance(0.15) ? { hole: kid } : this.next(kid, depth, svg);
    return typeof kid === "string" || typeof kid === "number" ? this.text() : kid;
  }

  private nextKeyed(kids: Spec[], depth: number, svg: boolean): Spec[] {
    let list = kids.map((kid) => this.next(kid, depth, svg));
    list = list.filter(() => !this.chance(0.15));
    if (this.chance(0.2)) list.reverse();
    if (this.chance(0.4)) list.sort(() => this.random() - 0.5);
    for (let n = this.chance(0.5) ? this.below(4) : 0; n > 0; n--) list.splice(this.below(list.length + 1), 0, this.keyed(Math.max(0, depth), svg));
    // The same key on another type is another element.
    return list.map((kid) => (this.chance(0.03) ? { ...this.another(kid, depth, svg), key: kid.key } : kid));
  }
}

/** The same tree as other objects. */
function copy(kid: Spec): Spec {
  const other = (k: Kid): Kid => (Array.isArray(k) ? k.map(other) : isHole(k) ? { hole: copy(k.hole) } : isSpec(k) ? copy(k) : k);
  return { ...kid, kids: kid.kids.map(other) };
}

/** One library with its own page: what is drawn there and what was called back. */
class Side {
  readonly root = document.body.appendChild(document.createElement("main"));
  readonly log: [what: string, ...nodes: (Node | null)[]][] = [];
  private readonly ids = new WeakMap<Node, number>();
  private count = 0;
  private readonly nodes = new WeakMap<Spec, object>();
  private readonly refs = new Map<string, (node: Node | null) => void>();
  private readonly clicks = new Map<string, (event: Event) => void>();
  private readonly lib: Lib;
  private readonly box: unknown;

  constructor(lib: Lib) {
    this.lib = lib;
    const build = (spec: Spec) => this.build(spec);
    this.box = class extends lib.Component {
      render({ inner }: { inner: Spec }) {
        return build(inner);
      }
    };
  }

  /** The same tree is the same node, which a renderer may skip. */
  private build(spec: Spec): object {
    let node = this.nodes.get(spec);
    if (!node) this.nodes.set(spec, (node = this.make(spec)));
    return node;
  }

  private make({ tag, key, kids, component, props, click, ref }: Spec): object {
    const { h } = this.lib;
    if (component) return h(this.box, { key, inner: kids[0] });
    const all: Record<string, unknown> = { ...props };
    if (key !== undefined) all.key = key;
    if (click) all.onClick = this.known(this.clicks, click, (event) => this.log.push(["click " + click, event.target as Node, event.currentTarget as Node]));
    if (ref) all.ref = this.known(this.refs, ref, (node) => this.log.push(["ref " + ref, node]));
    return h(tag, all, ...kids.map((kid) => this.kid(kid)));
  }

  private kid(kid: Kid): unknown {
    if (Array.isArray(kid)) return kid.map((k) => this.kid(k));
    return isHole(kid) ? null : isSpec(kid) ? this.build(kid) : kid;
  }

  private known<T>(map: Map<string, T>, name: string, fn: T): T {
    if (!map.has(name)) map.set(name, fn);
    return map.get(name)!;
  }

  draw(spec: Spec | null): void {
    this.lib.render(spec && this.build(spec), this.root);
  }

  elements(): Element[] {
    return [...this.root.querySelectorAll("*")];
  }

  /** The number of a node: the same as long as it is the same node. */
  private id(node: Node | null): number | null {
    if (!node) return null;
    let id = this.ids.get(node);
    if (id === undefined) this.ids.set(node, (id = this.count++));
    return id;
  }

  /** The page as text, with the nodes' numbers if `ids`. */
  page(ids: boolean, node: Node = this.root): string {
    const id = ids && node !== this.root ? "#" + this.id(node) : "";
    if (!(node instanceof Element)) return JSON.stringify(node.nodeValue) + id;
    const attributes = [...node.attributes]
      .filter(({ name, value }) => name !== "style" && (value || !["class", "title", "dir", "href"].includes(name)))
      .map(({ name, value }) => `${name}=${JSON.stringify(value)}`);
    const { style } = node as HTMLElement;
    for (const name of [...style].sort()) attributes.push(`${name}:${style.getPropertyValue(name)}`);
    if (node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement) attributes.push("value " + node.value);
    const kids = [...node.childNodes].map((kid) => this.page(ids, kid)).join("");
    return `<${node.namespaceURI?.slice(-3)}:${node.localName}${id} ${attributes.sort().join(" ")}>${kids}</>`;
  }

  /** The refs called since the last time: those taken back, whose order is nobody's business, then those given, in order. */
  called(): string[] {
    const calls = this.log.splice(0).map(([what, node]) => `${what} ${this.id(node ?? null)}`);
    const back = calls.filter((call) => call.endsWith("null"));
    return [...back.sort(), ...calls.filter((call) => !call.endsWith("null"))];
  }
}

export interface Result {
  updates: number;
  /** Nodes that stayed over an update, and calls of refs and listeners. */
  kept: number;
  calls: number;
  failures: string[];
}

export function compare(seeds: number, updates: number, tidy: boolean): Result {
  const result: Result = { updates: 0, kept: 0, calls: 0, failures: [] };
  for (let seed = 1; seed <= seeds; seed++) {
    const random = generator(seed);
    const trees = new Trees(random, tidy);
    const sides = [new Side(preact as unknown as Lib), new Side(ours as unknown as Lib)] as const;
    let spec = trees.element(4, false, "div");
    const check = (step: string, what: string, of: (side: Side) => unknown): boolean => {
      const [theirs, mine] = sides.map((side) => String(of(side))) as [string, string];
      if (theirs === mine) return true;
      let at = 0;
      while (theirs[at] === mine[at]) at++;
      const [left, right] = [theirs, mine].map((text) => text.slice(Math.max(0, at - 300), at + 200));
      result.failures.push(`seed ${seed}, ${step}, ${what}\nPreact ${left}\nours   ${right}`);
      return false;
    };
    for (let n = 0; n <= updates; n++) {
      const last = n === updates;
      const step = last ? "cleared" : "update " + n;
      const before = new Set(sides[1].elements());
      try {
        for (const side of sides) side.draw(last ? null : spec);
      } catch (error) {
        result.failures.push(`seed ${seed}, ${step}: ${String((error as Error).stack)}`);
        break;
      }
      result.updates++;
      // Numbers are given in the order of the page, so the page comes first.
      const alike = check(step, "page", (side) => side.page(tidy));
      const calls = sides.map((side) => side.called()) as [string[], string[]];
      result.calls += calls[1].length;
      if (!alike || (tidy && !check(step, "refs", (side) => calls[sides.indexOf(side)]))) break;
      for (const element of sides[1].elements()) if (before.has(element)) result.kept++;

      const { length } = sides[0].elements();
      for (let i = 0; i < length; i += 1 + trees.below(4)) {
        for (const side of sides) side.elements()[i]!.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
      }
      const places = (side: Side) => {
        const all = side.elements();
        return side.log.splice(0).map(([what, ...nodes]) => [what, ...nodes.map((node) => all.indexOf(node as Element))]);
      };
      const clicked = sides.map(places);
      result.calls += clicked[1]!.length;
      check(step, "clicks", (side) => clicked[sides.indexOf(side)]);
      spec = trees.next(spec, 4);
      if (!trees.chance(0.3)) continue;
      // What is typed is put back by the next drawing of that field. One that is the same object might be skipped.
      for (const side of sides) side.root.querySelectorAll<HTMLInputElement>("input,textarea").forEach((field) => (field.value = "by hand"));
      spec = copy(spec);
    }
    for (const side of sides) side.root.remove();
    if (result.failures.length > 4) break;
  }
  return result;
}

Object.assign(window, { compare });
