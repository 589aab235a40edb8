/**
 * What the widget uses of Preact, in a sixth of its size. The build puts this in the place of "preact", against whose types
 * the sources are checked; with Preact itself the same widget works the same.
 *
 * Why: with Preact 11.2 the widget has 23.4 KB of gzip, with this 19.9, and at most 20 are promised.
 * Proof: tests/browser/test_renderer.py compares both on random trees, update by update.
 *
 * It lacks function components, fragments, context, state, effects, error boundaries, hydration, `dangerouslySetInnerHTML`,
 * capturing listeners and those without an `on...` property. A component only renders: always one element, without children or
 * a `ref` of its own. It differs: siblings without keys match by place only, so a hole keeps the place of what may stand
 * there; what an element no longer has is removed, where Preact leaves an empty attribute; a style is a text, as for `cssText`.
 * A node that is the same object as before is not looked at.
 */

type Props = Record<string, unknown>;
type Child = VNode | string | number | boolean | null | undefined | Child[];

interface Renders {
  render(props: Props): VNode;
}

/** Children by key, or by their place where they have none, in order. A place where nothing stands is not in here. */
type Kids = Map<string, VNode>;

interface VNode {
  /** Empty for text. */
  type: string | (new (props: Props) => Renders);
  props: Props;
  kids: Kids;
  dom?: Node;
  /** Of a component: what renders, and what it rendered. */
  made?: Renders;
  out?: VNode;
}

type Target = HTMLElement & Props;

const SVG = "http://www.w3.org/2000/svg";

const NONE: Kids = new Map();
const text = (data: string): VNode => ({ type: "", props: { data }, kids: NONE });

/** A list within the children has places and keys of its own. */
function collect(children: Child[], list: string, kids: Kids): Kids {
  children.forEach((child, i) => {
    const place = list + i;
    if (Array.isArray(child)) collect(child, place + ".", kids);
    else if (child != null && typeof child !== "boolean") {
      const node = typeof child === "object" ? child : text(String(child));
      const { key } = node.props;
      const name = key == null ? place : list + "k" + String(key);
      kids.set(kids.has(name) ? place : name, node); // also a key that is there twice shows twice
    }
  });
  return kids;
}

export function h(type: VNode["type"], props: Props | null, ...children: Child[]): VNode {
  return { type, props: props ?? {}, kids: collect(children, "", new Map()) };
}

/** Components extend it for their types only. */
export class Component {}

/** Called when all is drawn. */
let refs: (() => void)[] = [];

function setProp(dom: Target, name: string, value: unknown): void {
  if (name === "style") dom.style.cssText = value as string;
  else if (name.startsWith("on")) dom[name.toLowerCase()] = value;
  // A property says more than an attribute where there is one: what is typed, what is disabled.
  else if (value != null && name in dom && dom.namespaceURI !== SVG) dom[name] = value;
  else if (value == null || (value === false && name[4] !== "-")) dom.removeAttribute(name);
  else dom.setAttribute(name, String(value));
}

function setRef({ ref }: Props, dom: Node | null): void {
  (ref as ((dom: Node | null) => void) | undefined)?.(dom);
}

function unmount({ props, kids, out }: VNode): void {
  setRef(props, null);
  if (out) unmount(out);
  kids.forEach(unmount);
}

function remove(node: VNode): void {
  unmount(node);
  (node.dom as ChildNode).remove(); // also where it is gone already
}

/** Makes the DOM of `old`, which has the same type, that of `next`, or a new one. */
function patch(old: VNode | null, next: VNode, svg: boolean): Node {
  if (old === next) return next.dom!;
  const { type, props } = next;
  if (typeof type !== "string") {
    const made = (next.made = old?.made ?? new type(props));
    const out = made.render(props);
    const was = old?.out?.type === out.type ? old.out : null;
    if (old && !was) remove(old.out!);
    next.out = out;
    return (next.dom = patch(was, out, svg));
  }
  if (!type) {
    const text = (next.dom = old?.dom ?? new Text()) as Text;
    const data = props.data as string;
    const more = data.slice(text.data.length);
    // The browser lays out what is appended, and not all of it again.
    if (text.data + more !== data) text.data = data;
    else if (more) text.appendData(more);
    return text;
  }
  svg ||= type === "svg";
  const dom = (next.dom = old?.dom ?? (svg ? document.createElementNS(SVG, type) : document.createElement(type))) as Target;
  const was = old?.props ?? {};
  for (const name in { ...was, ...props }) {
    // What is typed into a field changes without us.
    const changed = props[name] !== (name === "value" ? dom.value : was[name]);
    if (changed && name !== "key" && name !== "ref") setProp(dom, name, props[name]);
  }
  children(dom, old?.kids ?? NONE, next.kids, svg);
  if (was.ref !== props.ref) {
    setRef(was, null);
    refs.push(() => setRef(props, dom));
  }
  return dom;
}

function children(parent: Node, old: Kids, next: Kids, svg: boolean): void {
  const [before, after] = [new Set(old.values()), new Set(next.values())];
  const pairs = new Map<VNode, VNode | null>();
  next.forEach((node, name) => {
    const known = before.has(node) ? node : old.get(name);
    // A node that is shown again, at any place, is not there for another one.
    const fits = known === node || (known && !after.has(known) && known.type === node.type);
    pairs.set(node, fits ? known! : null);
  });
  const kept = new Set(pairs.values());
  for (const node of before) if (!kept.has(node)) remove(node);
  let at = parent.firstChild;
  pairs.forEach((known, node) => {
    const was = at && known?.dom === at ? at : null;
    if (was) at = was.nextSibling; // first, because a component may draw another element
    const dom = patch(known, node, svg);
    if (dom !== was) parent.insertBefore(dom, at);
  });
}

const roots = new WeakMap<Node, Kids>();

/** Draws into the root what differs from the last time; null clears it. */
export function render(node: VNode | null, root: Node): void {
  const kids = collect([node], "", new Map());
  children(root, roots.get(root) ?? NONE, kids, false);
  roots.set(root, kids);
  const due = refs;
  refs = [];
  for (const ref of due) ref();
}
