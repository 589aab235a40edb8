/** Text within a block: emphasis, code, links, citations. See `parse.ts` for what both promise. */
import { safeUrl, shownHost } from './url.ts';

export type Inline =
  | string
  | { tag: 'strong' | 'em' | 'del'; kids: Inline[] }
  | { tag: 'a'; href: string; title: string | undefined; kids: Inline[] }
  | { tag: 'code'; text: string }
  | { tag: 'cite'; n: number }
  | { tag: 'br' };

type Token = RegExpExecArray;

/** A mark that may find its partner: `n` marks `c`, standing as text at `out[at]`. */
type Mark = { c: string; n: number; at: number };

// Beyond these the oldest open mark stays text, which also bounds the depth of the tree.
const MAX_OPEN = 16;

// Everything that may mean more than itself, as far as it reaches.
const TOKEN = /\n|\\(?=[\n!-/:-@[-`{-~]|$)|`+|\*+|_+|~+|!?\[|]|<([^\s<>]+)>|https?:\/\/[^\s<>"`[\]]+|@(?:[a-z0-9-]+\.)+[a-z]{2,}/gi;
const TARGET = /\( ?<?((?:[^\s()<>[\\]|\\[^\s[]|\([^\s()<>[]*\))*)>?(?: (?:"[^"\n[]*"|'[^'\n[]*'))? ?\)/y;
const HALF_TARGET = /\( ?[^\s[]*(?: ["'][^\n[]*)?$/y;
const BACKTICKS = /`+/g;
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

  /** `*`, `_` and `~`, by a simplified form of CommonMark's rules. */
  const emphasis = ([run]: Token): void => {
    const c = run[0]!;
    const n = run.length;
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

  /** What each token does, by its first character. One that takes nothing leaves that character as text. */
  const rules: Record<string, (token: Token) => void> = {
    '\n': () => put(1, { tag: 'br' }),

    '\\'() {
      const next = src[i + 1];
      if (next === '\n') put(2, { tag: 'br' });
      else if (next || open) {
        put(1);
        if (next) i++;
      }
    },

    '`'([run]) {
      const n = run.length;
      let closer: Token | null = null;
      if (n < 4 && !noCode[n]) {
        closer = at(BACKTICKS, i + n);
        while (closer && closer[0].length !== n) closer = BACKTICKS.exec(src);
      }
      if (closer || (open && n < 4)) {
        const end = closer?.index ?? length;
        let text = src.slice(i + n, end).replace(/\n/g, ' ');
        // Spaces that only keep a backtick inside from the marks outside.
        if (/^ .*[^ ].* $/.test(text)) text = text.slice(1, -1);
        if (!closer) while (text.endsWith('`')) text = text.slice(0, -1);
        put(end - i + (closer ? n : 0), text && { tag: 'code', text });
      } else {
        noCode[n] = true;
        i += n;
      }
    },

    // An image is a link with a longer mark, which shows its label only.
    '[': () => mark('[', 1),
    '!': () => mark('[', 2),

    ']'() {
      put(0);
      const k = partner('[');
      const opened = marks[k];
      if (!opened) return;
      marks.length = k;
      const target = at(TARGET, i + 1);
      const label = out.slice(opened.at + 1);
      const isLink = opened.n < 2;
      const number = isLink && label.map(plain).join('');
      if (target) {
        out.length = opened.at;
        const href = safeUrl(target[1]!.replace(/\\([!-/:-@[-`{-~])/g, '$1'));
        if (href && isLink) marks = marks.filter(({ c, n }) => c !== '[' || n > 1);
        out.push(...(href ? [link(href, label)] : label));
        put(target[0].length + 1);
      } else if (number && /^\d{1,3}$/.test(number)) {
        out.length = opened.at;
        put(1, { tag: 'cite', n: +number });
      } else if (open && (i + 1 === length || at(HALF_TARGET, i + 1))) {
        out[opened.at] = '';
        put(length - i);
      }
    },

    '<'([{ length: n }, address]) {
      const href = safeUrl(address!);
      if (href) put(n, link(href, [address!]));
    },

    '@'([domain]) {
      const local = LOCAL.exec(src.slice(Math.max(from, i - 64), i))?.[0];
      if (!local || (open && i + domain.length === length)) return;
      i -= local.length;
      const address = local + domain;
      put(address.length, link('mailto:' + address, [address]));
    },

    '*': emphasis,
    _: emphasis,
    '~': emphasis,
  };

  const bare = ([found]: Token): void => {
    const whole = i + found.length < length || !open;
    let url = found;
    let depth = url.split('(').length - url.split(')').length;
    // Punctuation after an address belongs to the sentence, and so does a parenthesis it did not open.
    while (/[.,;:!?'*_~]$/.test(url) || (depth < 0 && url.endsWith(')'))) {
      if (url.endsWith(')')) depth++;
      url = url.slice(0, -1);
    }
    const href = whole && !word(src[i - 1]) && safeUrl(url);
    if (href) put(url.length, link(href, [url]));
    else i += url.length;
  };

  for (let token: Token | null; (token = at(TOKEN, i)); ) {
    const start = (i = token.index);
    (rules[src[i]!] ?? bare)(token);
    if (i === start) i++;
  }
  i = length;
  put(0);
  while (open && marks.length) {
    const k = marks.length - 1;
    const { c, n, at: where } = marks[k]!;
    if (c === '[' || !join(out.slice(where + 1)).length) {
      out[where] = '';
      marks.pop();
    } else close(k, n);
  }
  return join(out);
}
