/**
 * Markdown as models write it, to a small tree. Pure: text in, nodes out.
 *
 * The text is hostile. The tree can hold no HTML, no image, and no address outside http, https and mailto.
 * Every scan is linear in the text: searches that fail are remembered, open marks and nesting are capped,
 * and no pattern has two ways to match the same run.
 *
 * With `open` the text is still arriving: what is unfinished at its end is shown as if it were finished, and
 * what cannot be judged yet (half a mark, half a table row) waits.
 */
import { type Inline, inline } from './inline.ts';

export type Align = 'left' | 'center' | 'right' | undefined;

export type Block =
  | { tag: 'p'; kids: Inline[] }
  | { tag: 'heading'; level: number; kids: Inline[] }
  | { tag: 'pre'; lang: string; text: string }
  | { tag: 'ul'; items: Block[][] }
  | { tag: 'ol'; start: number; items: Block[][] }
  | { tag: 'blockquote'; blocks: Block[] }
  | { tag: 'table'; align: Align[]; head: Inline[][]; rows: Inline[][][] }
  | { tag: 'hr' };

/** A block and the line after its last. No block: the lines say nothing yet. */
type Found = [block: Block | undefined, end: number];

// Deeper quotes and lists are shown as text: nobody reads them, and recursion stays bounded.
const MAX_DEPTH = 8;

const FENCE = /^\s*(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(|[ \t].*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^\s*(?:[-*+]|(\d{1,9})[.)])(?=\s|$)/;
// A last line that may yet become a list item, heading, quote, rule, fence or table row.
const UNDECIDED = /^\s*(?:[-*_+>`~]{1,3}|#{1,6}|\d{1,3}[.)]?|\|.*)\s*$/;

const blank = (line: string | undefined): boolean => !line?.trim();

/** Columns of leading white space; a tab counts four. */
const indent = (line: string): number => /^\s*/.exec(line)![0].replace(/\t/g, '    ').length;

/** `line` without its first `columns` columns of white space, or as many as it has. */
function dedent(line: string, columns: number): string {
  let i = 0;
  for (; columns > 0 && /\s/.test(line.charAt(i)); i++) columns -= indent(line[i]!);
  return line.slice(i);
}

/** The cells of a table row. A pipe after a backslash is text; a NUL stands in for it, which no text has use for. */
const cells = (line: string): string[] =>
  line
    .trim()
    .replace(/\\\|/g, '\0')
    .replace(/^\||\|$/g, '')
    .split('|')
    .map((cell) => cell.replace(/\0/g, '|').trim());

type Rule = [pattern: RegExp, make: (i: number, match: RegExpExecArray) => Found];

/** The block, its first line, the line after its last, and whether the text may still go on there. */
type Each = (found: Block | undefined, start: number, end: number, open: boolean) => void;

/** Calls `each` with what stands in `lines`, block by block. */
function walk(lines: string[], depth: number, open: boolean, each: Each): void {
  const { length } = lines;
  // It leaves its place, so that nothing before it changes.
  if (open && UNDECIDED.test(lines[length - 1]!)) lines[length - 1] = '';

  /** Whether the text may still go on where the block before line `end` stopped. */
  const tail = (end: number): boolean => open && end >= length - (lines[length - 1] ? 0 : 1);

  /** The first line from `i` on that stops a block. */
  const until = (i: number, stops: (line: string, i: number) => unknown): number => {
    while (i < length && !stops(lines[i]!, i)) i++;
    return i;
  };

  const inner = (own: string[], last: boolean): Block[] => {
    const out: Block[] = [];
    walk(own, depth + 1, last, (found) => found && out.push(found));
    return out;
  };

  const list = (i: number, [, ordered]: RegExpExecArray): Found => {
    const base = indent(lines[i]!) + 2;
    const items: string[][] = [];
    const sibling = (line: string): RegExpExecArray | null => {
      const item = indent(line) < base && !RULE.test(line) ? ITEM.exec(line) : null;
      return item && !item[1] === !ordered ? item : null;
    };
    let own: string[] = [];
    let width = 0;
    let end = i;
    for (; end < length; end++) {
      const line = lines[end]!;
      const item = sibling(line);
      if (item) {
        // Content may stand several columns to the right of its mark; an empty item's begins one after it.
        width = indent(line) + item[0].trim().length + 1;
        items.push((own = [line.slice(item[0].length + 1)]));
      } else if (blank(line)) {
        const next = until(end, (other) => !blank(other));
        const after = lines[next];
        if (after === undefined || (indent(after) < base && !sibling(after))) break;
        while (++end < next) own.push('');
        own.push('');
        end--; // the loop goes on with the next
      } else if (indent(line) >= base || !(blank(lines[end - 1]) || starter(end, true))) own.push(dedent(line, width));
      else break;
    }
    const found = items.map((item) => inner(item, item === own && tail(end)));
    return [ordered ? { tag: 'ol', start: +ordered, items: found } : { tag: 'ul', items: found }, end];
  };

  const rules: Rule[] = [
    [
      FENCE,
      (i, [, mark, info]) => {
        const width = indent(lines[i]!);
        const end = until(i + 1, (line) => line.trim().startsWith(mark!) && line.trim() === mark![0]!.repeat(line.trim().length));
        const body = lines.slice(i + 1, end).map((line) => dedent(line, width));
        if (end === length && blank(body[body.length - 1])) body.pop();
        // The label of a first line that is still arriving would change with each letter.
        const lang = open && i === length - 1 ? '' : info!.trim().split(/\s/, 1)[0]!;
        return [{ tag: 'pre', lang, text: body.join('\n') }, end + 1];
      },
    ],
    [
      HEADING,
      (i, [, mark, text]) => {
        const title = text!.trim().replace(/(?:^|\s)#+$/, '').trim();
        return [{ tag: 'heading', level: mark!.length, kids: inline(title, tail(i + 1)) }, i + 1];
      },
    ],
    [RULE, (i) => [{ tag: 'hr' }, i + 1]],
    [
      QUOTE,
      (i) => {
        const end = until(i, (line) => !QUOTE.test(line));
        const own = lines.slice(i, end).map((line) => line.replace(QUOTE, ''));
        return [{ tag: 'blockquote', blocks: inner(own, tail(end)) }, end];
      },
    ],
    [ITEM, list],
  ];
  if (depth >= MAX_DEPTH) rules.length = 3;

  /** How many columns a table starting at line `i` has; 0 when none starts there. */
  const columns = (i: number): number => {
    const [head, rule = ''] = lines.slice(i, i + 2) as [string, string?];
    const { length: width } = cells(head);
    const marks = head.includes('|') && rule.includes('|') ? cells(rule) : [];
    return marks.length === width && marks.every((mark) => /^:?-+:?$/.test(mark)) ? width : 0;
  };

  const table = (i: number, width: number): Found => {
    const align = cells(lines[i + 1]!).map((mark): Align => {
      if (mark.endsWith(':')) return mark[0] === ':' ? 'center' : 'right';
      return mark[0] === ':' ? 'left' : undefined;
    });
    // Short rows are not filled up: that would let a wide head multiply by many empty rows.
    const row = (line: string, k: number): Inline[][] =>
      cells(line)
        .slice(0, width)
        .map((cell) => inline(cell, tail(k + 1)));
    const end = until(i + 2, (line) => !line.includes('|'));
    const rows = lines.slice(i + 2, end).map((line, k) => row(line, i + 2 + k));
    return [{ tag: 'table', align, head: row(lines[i]!, i), rows }, end];
  };

  const paragraph = (i: number): Found => {
    const end = until(i + 1, (line, k) => blank(line) || starter(k, true));
    const own = lines.slice(i, end).map((line) => line.trim());
    // The head of a table is not a sentence: it waits for its second line.
    if (tail(end) && own[own.length - 1]![0] === '|') own.pop();
    const kids = inline(own.join('\n'), tail(end));
    return [kids.length ? { tag: 'p', kids } : undefined, end];
  };

  /** What makes the block that starts at line `i`, where that is no paragraph. A sentence's next line starts less. */
  const starter = (i: number, inText?: boolean): (() => Found) | undefined => {
    const line = lines[i]!;
    for (const [pattern, make] of rules) {
      const match = pattern.exec(line);
      // "1986. A good year" is a sentence, and so is a line with a dash and nothing else.
      const weak = pattern === ITEM && inText && ((match?.[1] ?? '1') !== '1' || match?.[0].length === line.trimEnd().length);
      if (match && !weak) return () => make(i, match);
    }
    const width = columns(i);
    return width ? () => table(i, width) : undefined;
  };

  for (let i = 0; i < length; ) {
    if (blank(lines[i])) i++;
    else {
      const [found, end] = starter(i)?.() ?? paragraph(i);
      each(found, i, end, tail(end));
      i = end;
    }
  }
}

/**
 * A text that grows. Blocks that are finished keep their identity, and an update costs what the last two blocks
 * cost: a line that is still arriving can join the block before it, never one before that.
 */
export function createStream() {
  let settled = '';
  let blocks: Block[] = [];
  let recent: { source: string; start: number; found: Block | undefined }[] = [];

  /** The blocks of `text`, which usually is the text of the last call and more. With `open`, more is to come. */
  return (text: string, open = false): Block[] => {
    if (!text.startsWith(settled)) {
      settled = '';
      blocks = [];
      recent = [];
    }
    const raw = text.slice(settled.length).split('\n');
    const lines = raw.map((line) => line.replace(/\r$/, ''));
    const now: typeof recent = [];
    walk(lines, 0, open, (found, start, end, more) => {
      // One that may go on is drawn in another way than the same one that is finished.
      const source = `${more} ${lines.slice(start, end).join('\n')}`;
      const known = recent[now.length];
      now.push({ source, start, found: known?.source === source ? known.found : found });
    });
    const present = () => [...blocks, ...now.flatMap(({ found }) => found ?? [])];
    const all = present();
    recent = now.splice(-2);
    if (now.length) {
      blocks = present();
      settled += raw.slice(0, recent[0]!.start).join('\n') + '\n';
    }
    return all;
  };
}

/** The whole text at once. */
export const parse = (text: string, open = false): Block[] => createStream()(text, open);
