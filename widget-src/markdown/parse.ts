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
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
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

/** How many columns a table starting at line `i` has; 0 when none starts there. */
function columns(lines: string[], i: number): number {
  const head = lines[i]!;
  const rule = lines[i + 1];
  if (!rule || !head.includes('|') || !rule.includes('|') || !/^[\s|:-]+$/.test(rule)) return 0;
  const marks = cells(rule);
  return marks.every((mark) => /^:?-+:?$/.test(mark)) && cells(head).length === marks.length ? marks.length : 0;
}

/** Whether line `i` ends a paragraph without a blank line. */
function interrupts(lines: string[], i: number, depth: number): boolean {
  const line = lines[i]!;
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line)) return true;
  if (depth < MAX_DEPTH) {
    if (QUOTE.test(line)) return true;
    const item = ITEM.exec(line);
    // "1986. A good year" is a sentence, and so is a line with a dash and nothing else.
    if (item && (!item[1] || item[1] === '1') && item[0].length < line.trimEnd().length) return true;
  }
  return columns(lines, i) > 0;
}

function fence(lines: string[], i: number, mark: string, info: string, open: boolean): Found {
  const width = indent(lines[i]!);
  const closes = (line: string): boolean => line.startsWith(mark) && line === mark[0]!.repeat(line.length);
  let end = i + 1;
  while (end < lines.length && !closes(lines[end]!.trim())) end++;
  const body = lines.slice(i + 1, end).map((line) => dedent(line, width));
  if (end === lines.length && blank(body[body.length - 1])) body.pop();
  // The label of a first line that is still arriving would change with each letter.
  const lang = open && i === lines.length - 1 ? '' : (info.trim().split(/\s/, 1)[0] ?? '');
  return [{ tag: 'pre', lang, text: body.join('\n') }, end + 1];
}

function table(lines: string[], i: number, width: number, open: boolean): Found {
  const align = cells(lines[i + 1]!).map((mark): Align => {
    const right = mark.endsWith(':') && 'right';
    return mark[0] === ':' ? (right ? 'center' : 'left') : right || undefined;
  });
  // Short rows are not filled up: that would let a wide head multiply by many empty rows.
  const row = (k: number): Inline[][] =>
    cells(lines[k]!)
      .slice(0, width)
      .map((cell) => inline(cell, open && tail(lines, k + 1)));
  let end = i + 2;
  const rows: Inline[][][] = [];
  while (lines[end]?.includes('|')) rows.push(row(end++));
  return [{ tag: 'table', align, head: row(i), rows }, end];
}

function list(lines: string[], i: number, ordered: string | undefined, depth: number, open: boolean): Found {
  const base = indent(lines[i]!);
  const items: string[][] = [];
  const sibling = (line: string): RegExpExecArray | null => {
    const item = indent(line) < base + 2 && !RULE.test(line) ? ITEM.exec(line) : null;
    return item && !item[1] === !ordered ? item : null;
  };
  let width = 0;
  let end = i;
  while (end < lines.length) {
    const line = lines[end]!;
    let next = end;
    while (next < lines.length && blank(lines[next])) next++;
    const item = sibling(line);
    if (item) {
      // Content may stand several columns to the right of its mark; an empty item's begins one after it.
      const rest = line.slice(item[0].length);
      width = indent(line) + item[0].trim().length + 1;
      items.push([rest.slice(1)]);
    } else if (next > end) {
      const after = lines[next];
      if (after === undefined || (indent(after) < base + 2 && !sibling(after))) break;
      for (let k = end; k < next; k++) items[items.length - 1]!.push('');
      end = next;
      continue;
    } else if (indent(line) >= base + 2 || !(blank(lines[end - 1]) || interrupts(lines, end, depth))) {
      items[items.length - 1]!.push(dedent(line, width));
    } else break;
    end++;
  }
  const last = open && tail(lines, end);
  const found = items.map((item, k) => inner(item, depth, last && k === items.length - 1));
  return [ordered ? { tag: 'ol', start: +ordered, items: found } : { tag: 'ul', items: found }, end];
}

function quote(lines: string[], i: number, depth: number, open: boolean): Found {
  let end = i;
  while (end < lines.length && QUOTE.test(lines[end]!)) end++;
  const own = lines.slice(i, end).map((line) => line.replace(QUOTE, ''));
  return [{ tag: 'blockquote', blocks: inner(own, depth, open && tail(lines, end)) }, end];
}

function paragraph(lines: string[], i: number, depth: number, open: boolean): Found {
  let end = i + 1;
  while (end < lines.length && !blank(lines[end]) && !interrupts(lines, end, depth)) end++;
  const own = lines.slice(i, end).map((line) => line.trim());
  const unfinished = open && tail(lines, end);
  // The head of a table is not a sentence: it waits for its second line.
  if (unfinished && own[own.length - 1]![0] === '|') own.pop();
  const kids = inline(own.join('\n'), unfinished);
  return [kids.length ? { tag: 'p', kids } : undefined, end];
}

/** Whether the text may still go on where the block before line `end` stopped. */
const tail = (lines: string[], end: number): boolean =>
  end >= lines.length - (lines[lines.length - 1] ? 0 : 1);

/** The block that starts at line `i`, which is not blank. */
function block(lines: string[], i: number, depth: number, open: boolean): Found {
  const line = lines[i]!;
  let m: RegExpExecArray | null;
  if ((m = FENCE.exec(line))) return fence(lines, i, m[1]!, m[2]!, open);
  if ((m = HEADING.exec(line))) {
    const text = m[2]!.trim().replace(/(?:^|\s)#+$/, '').trim();
    return [{ tag: 'heading', level: m[1]!.length, kids: inline(text, open && tail(lines, i + 1)) }, i + 1];
  }
  if (RULE.test(line)) return [{ tag: 'hr' }, i + 1];
  if (depth < MAX_DEPTH) {
    if (QUOTE.test(line)) return quote(lines, i, depth, open);
    if ((m = ITEM.exec(line))) return list(lines, i, m[1], depth, open);
  }
  const width = columns(lines, i);
  return width ? table(lines, i, width, open) : paragraph(lines, i, depth, open);
}

/** Calls `each` with what stands in `lines` from `start` to `end`, block by block. */
function walk(lines: string[], depth: number, open: boolean, each: (found: Block | undefined, start: number, end: number) => void): void {
  const last = lines.length - 1;
  // It leaves its place, so that nothing before it changes.
  if (open && UNDECIDED.test(lines[last]!)) lines[last] = '';
  for (let i = 0; i <= last; ) {
    if (blank(lines[i])) i++;
    else {
      const [found, end] = block(lines, i, depth, open);
      each(found, i, end);
      i = end;
    }
  }
}

function inner(lines: string[], depth: number, open: boolean): Block[] {
  const out: Block[] = [];
  walk(lines, depth + 1, open, (found) => found && out.push(found));
  return out;
}

/**
 * A text that grows. Blocks that are finished keep their identity, and an update costs what the last two blocks
 * cost: a line that is still arriving can join the block before it, never one before that.
 */
export class MarkdownStream {
  private settled = '';
  private blocks: Block[] = [];
  private recent: { source: string; found: Block | undefined }[] = [];

  /** The blocks of `text`, which usually is the text of the last call and more. With `open`, more is to come. */
  update(text: string, open = false): Block[] {
    if (!text.startsWith(this.settled)) {
      this.settled = '';
      this.blocks = [];
      this.recent = [];
    }
    const raw = text.slice(this.settled.length).split('\n');
    const lines = raw.map((line) => line.replace(/\r$/, ''));
    const starts: number[] = [];
    const recent: typeof this.recent = [];
    walk(lines, 0, open, (found, start, end) => {
      const source = `${open && tail(lines, end)} ${lines.slice(start, end).join('\n')}`;
      const known = this.recent[recent.length];
      starts.push(start);
      recent.push(known?.source === source ? known : { source, found });
    });
    const present = (those: typeof recent): Block[] => those.flatMap(({ found }) => found ?? []);
    const all = [...this.blocks, ...present(recent)];
    if (recent.length > 2) {
      this.blocks.push(...present(recent.splice(0, recent.length - 2)));
      this.settled += raw.slice(0, starts[starts.length - 2]).join('\n') + '\n';
    }
    this.recent = recent;
    return all;
  }
}

/** The whole text at once. */
export const parse = (text: string, open = false): Block[] => new MarkdownStream().update(text, open);
