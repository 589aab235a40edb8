/** Text within a block: emphasis, code, links, citations. See `parse.ts` for what both promise. */
import { safeUrl, shownHost } from './url.ts';

export type Inline =
  | string
  | { tag: 'strong' | 'em' | 'del'; kids: Inline[] }
  | { tag: 'a'; href: string; title: string | undefined; kids: Inline[] }
  | { tag: 'code'; text: string }
  | { tag: 'cite'; n: number }
  | { tag: 'br' };

/** A mark that may find its partner: `n` marks `c`, standing as text at `out[at]`. */
type Mark = { c: string; n: number; at: number };

// Beyond these the oldest open mark stays text, which also bounds the depth of the tree.
const MAX_OPEN = 16;

const SPECIAL = /[\\`*_~[\]<\n@]|!\[|https?:\/\//gi;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const TARGET = /\( ?<?((?:[^\s()<>[\\]|\\[^\s[]|\([^\s()<>[]*\))*)>?(?: (?:"[^"\n[]*"|'[^'\n[]*'))? ?\)/y;
const HALF_TARGET = /\( ?[^\s[]*(?: ["'][^\n[]*)?$/y;
const ANGLE = /<([^\s<>]+)>/y;
const BARE = /https?:\/\/[^\s<>"`[\]]+/iy;
const DOMAIN = /@(?:[a-z0-9-]+\.)+[a-z]{2,}/iy;
const LOCAL = /[\w.+-]+$/;
const WORD = /[\p{L}\p{N}_]/u;

const space = (c: string | undefined): boolean => !c?.trim();
const word = (c: string | undefined): boolean => !!c && WORD.test(c);

/** Neighbouring texts as one, empty ones gone. */
function join(nodes: Inline[]): Inline[] {
  const out: Inline[] = [];
  for (const node of nodes) {
    const last = out.length - 1;
    if (typeof node === 'string' && typeof out[last] === 'string') out[last] += node;
    else if (node !== '') out.push(node);
  }
  return out;
}

/** A link holds no link. */
const unlinked = (nodes: Inline[]): Inline[] =>
  nodes.flatMap((node): Inline[] => {
    if (typeof node === 'string' || !('kids' in node)) return [node];
    return node.tag === 'a' ? node.kids : [{ ...node, kids: unlinked(node.kids) }];
  });

const plain = (node: Inline): string =>
  typeof node === 'string' ? node : 'kids' in node ? node.kids.map(plain).join('') : 'text' in node ? node.text : '';

function link(href: string, label: Inline[]): Inline {
  const own = join(unlinked(label));
  const kids = own.length ? own : [href];
  return { tag: 'a', href, title: shownHost(href, kids.map(plain).join('')), kids };
}

/** The nodes of `src`. A newline is a line break. With `open` the text is still arriving. */
export function inline(src: string, open = false): Inline[] {
  const { length } = src;
  const out: Inline[] = [];
  let marks: Mark[] = [];
  // Lengths of backtick runs that have no partner in the rest.
  const noCode: boolean[] = [];
  let from = 0; // text from here to `i` is not in `out` yet
  let i = 0;

  const at = (pattern: RegExp, where: number): RegExpExecArray | null => {
    pattern.lastIndex = where;
    return pattern.exec(src);
  };

  const run = (where: number): number => {
    let end = where;
    while (src[end] === src[where]) end++;
    return end - where;
  };

  /** Puts the text so far into `out`, then `node`, which stands for the next `n` characters. */
  const put = (n: number, node: Inline = ''): void => {
    out.push(src.slice(from, i), node);
    from = i += n;
  };

  const mark = (c: string, n: number): void => {
    put(n, src.slice(i, i + n));
    marks.push({ c, n, at: out.length - 1 });
    if (marks.length > MAX_OPEN) marks.shift();
  };

  /** The nearest open mark `c`, of exactly `n` characters unless 0. */
  const partner = (c: string, n = 0): number => {
    let k = marks.length - 1;
    while (k >= 0 && (marks[k]!.c !== c || (n && marks[k]!.n !== n))) k--;
    return k;
  };

  /** Closes open mark `k` with up to `left` marks; says how many it took. Marks after it stay text. */
  const close = (k: number, left: number): number => {
    const { c, n, at: where } = marks[k]!;
    const used = Math.min(2, left, n);
    const kids = join(out.splice(where + 1));
    out[where] = c.repeat(n - used);
    out.push({ tag: used < 2 ? 'em' : c === '~' ? 'del' : 'strong', kids });
    marks.length = k;
    if (n > used) marks.push({ c, n: n - used, at: where });
    return used;
  };

  const escape = (): void => {
    const next = src[i + 1];
    if (next === '\n') put(2, { tag: 'br' });
    else if (next ? PUNCTUATION.test(next) : open) {
      put(1);
      i += next ? 1 : 0;
    } else i++;
  };

  const code = (): void => {
    const n = run(i);
    const start = i + n;
    let end = start;
    if (n > 3 || noCode[n]) end = length;
    while (end < length && (src[end] !== '`' || run(end) !== n)) end += src[end] === '`' ? run(end) : 1;
    if (end < length || (open && n < 4)) {
      let text = src.slice(start, end).replace(/\n/g, ' ');
      // Spaces that only keep a backtick inside from the marks outside.
      if (/^ .*[^ ].* $/.test(text)) text = text.slice(1, -1);
      if (end === length) while (text.endsWith('`')) text = text.slice(0, -1);
      put(end - i + (end < length ? n : 0), text && { tag: 'code', text });
    } else {
      noCode[n] = true;
      i = start;
    }
  };

  /** `*`, `_` and `~`, by a simplified form of CommonMark's rules. */
  const emphasis = (c: string): void => {
    const n = run(i);
    const before = src[i - 1];
    const after = src[i + n];
    const waits = open && !after;
    const usable = n < 4 && (c !== '~' || n === 2);
    const opens = usable && !space(after) && (c !== '_' || !word(before));
    const closes = usable && !space(before) && (c !== '_' || !word(after));
    let left = n;
    while (closes && left) {
      const k = partner(c, opens ? left : 0);
      // Half of a closing `**`: its other half is on its way.
      if (k < 0 || (waits && left < 2 && marks[k]!.n > 1)) break;
      put(0);
      const used = close(k, left);
      from = i += used;
      left -= used;
    }
    if (waits) put(left);
    else if (left && opens) mark(c, left);
    else i += left;
  };

  const bracket = (): void => {
    put(0);
    const k = Math.max(partner('['), partner('!'));
    const opened = marks[k];
    if (!opened) {
      i++;
      return;
    }
    marks.length = k;
    const target = at(TARGET, i + 1);
    const label = out.slice(opened.at + 1);
    const number = opened.c === '[' && label.map(plain).join('');
    if (target) {
      out.length = opened.at;
      const href = safeUrl(target[1]!.replace(/\\([!-/:-@[-`{-~])/g, '$1'));
      if (href && opened.c === '[') marks = marks.filter(({ c }) => c !== '[');
      out.push(...(href ? [link(href, label)] : label));
      put(target[0].length + 1);
    } else if (number && /^\d{1,3}$/.test(number)) {
      out.length = opened.at;
      put(1, { tag: 'cite', n: +number });
    } else if (open && (i + 1 === length || at(HALF_TARGET, i + 1))) {
      out[opened.at] = '';
      put(length - i);
    } else i++;
  };

  const angle = (): void => {
    const m = at(ANGLE, i);
    const href = m && safeUrl(m[1]!);
    if (m && href) put(m[0].length, link(href, [m[1]!]));
    else i++;
  };

  const bare = (): void => {
    let url = at(BARE, i)?.[0] ?? 'http';
    const whole = i + url.length < length || !open;
    let depth = 0;
    for (const c of url) depth += c === '(' ? 1 : c === ')' ? -1 : 0;
    // Punctuation after an address belongs to the sentence, and so does a parenthesis it did not open.
    while (/[.,;:!?'*_~]$/.test(url) || (depth < 0 && url.endsWith(')'))) {
      if (url.endsWith(')')) depth++;
      url = url.slice(0, -1);
    }
    const href = whole && !word(src[i - 1]) && safeUrl(url);
    if (href) put(url.length, link(href, [url]));
    else i += url.length;
  };

  const email = (): void => {
    const domain = at(DOMAIN, i)?.[0];
    const local = domain && LOCAL.exec(src.slice(Math.max(from, i - 64), i))?.[0];
    if (local && !(open && i + domain.length === length)) {
      i -= local.length;
      const address = local + domain;
      put(address.length, { tag: 'a', href: `mailto:${address}`, title: undefined, kids: [address] });
    } else i++;
  };

  for (let m: RegExpExecArray | null; (m = at(SPECIAL, i)); ) {
    i = m.index;
    const c = src[i]!;
    if (c === '\\') escape();
    else if (c === '`') code();
    else if (c === '[' || c === '!') mark(c, m[0].length);
    else if (c === ']') bracket();
    else if (c === '<') angle();
    else if (c === '@') email();
    else if (c === '\n') put(1, { tag: 'br' });
    else if (m[0].length > 1) bare();
    else emphasis(c);
  }
  i = length;
  put(0);
  while (open && marks.length) {
    const k = marks.length - 1;
    const { c, n, at: where } = marks[k]!;
    if (c === '[' || c === '!' || !join(out.slice(where + 1)).length) {
      out[where] = '';
      marks.pop();
    } else close(k, n);
  }
  return join(out);
}
