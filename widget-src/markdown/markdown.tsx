/**
 * Markdown as Preact nodes: elements of a fixed set and text, never HTML.
 *
 * `h` instead of JSX, because tag names are data here. Classes are styled by `style.ts`.
 */
import { Component, type ComponentChild, h } from 'preact';
import type { Inline } from './inline.ts';
import { type Block, MarkdownStream } from './parse.ts';

export interface MarkdownProps {
  text: string;
  /** The text is still arriving. */
  streaming?: boolean;
}

const REL = 'noopener noreferrer nofollow ugc';

const spans = (nodes: Inline[]): ComponentChild[] => nodes.map(span);

function span(node: Inline): ComponentChild {
  if (typeof node === 'string') return node;
  switch (node.tag) {
    case 'a':
      return h('a', { href: node.href, title: node.title, rel: REL, target: '_blank' }, spans(node.kids));
    case 'code':
      return h('code', { dir: 'ltr' }, node.text);
    case 'cite':
      return h('sup', { class: 'md-cite' }, `[${node.n}]`);
    case 'br':
      return h('br', null);
    default:
      return h(node.tag, null, spans(node.kids));
  }
}

/** An item's first paragraph stands beside its mark, without a paragraph's margins. */
function item(blocks: Block[]): ComponentChild {
  const [first, ...rest] = blocks;
  const lead = first?.tag === 'p' ? spans(first.kids) : first && element(first);
  return h('li', { dir: 'auto' }, lead, rest.map(element));
}

function table(block: Extract<Block, { tag: 'table' }>): ComponentChild {
  const row = (tag: 'th' | 'td', cells: Inline[][]): ComponentChild =>
    h(
      'tr',
      null,
      cells.map((cell, i) => h(tag, { dir: 'auto', class: block.align[i] && `md-${block.align[i]}` }, spans(cell))),
    );
  const body = h('tbody', null, block.rows.map((cells) => row('td', cells)));
  // Reachable by Tab, so that a wide table can be scrolled with the keyboard.
  return h('div', { class: 'md-table', tabIndex: 0 }, h('table', null, h('thead', null, row('th', block.head)), body));
}

function element(block: Block): ComponentChild {
  switch (block.tag) {
    case 'p':
      return h('p', { dir: 'auto' }, spans(block.kids));
    case 'heading': {
      // The page has its own outline: a model's title is never above level 3 of it.
      const level = Math.min(block.level + 2, 6);
      return h('div', { class: 'md-h', role: 'heading', 'aria-level': level, dir: 'auto' }, spans(block.kids));
    }
    case 'pre':
      return h(
        'div',
        { class: 'md-code', dir: 'ltr' },
        block.lang && h('div', { class: 'md-lang' }, block.lang),
        h('pre', { tabIndex: 0 }, h('code', null, block.text)),
      );
    case 'ul':
      return h('ul', null, block.items.map(item));
    case 'ol':
      return h('ol', { start: block.start }, block.items.map(item));
    case 'blockquote':
      return h('blockquote', null, block.blocks.map(element));
    case 'table':
      return table(block);
    case 'hr':
      return h('hr', null);
  }
}

/** The same for an answer that streams and one that is done. A finished block keeps its node, so it is not drawn again. */
export class Markdown extends Component<MarkdownProps> {
  private readonly stream = new MarkdownStream();
  private readonly nodes = new WeakMap<Block, ComponentChild>();

  override render({ text, streaming }: MarkdownProps): ComponentChild {
    const blocks = this.stream.update(text, streaming);
    return h('div', { class: 'md' }, blocks.map((block) => this.node(block)));
  }

  private node(block: Block): ComponentChild {
    let node = this.nodes.get(block);
    if (!node) this.nodes.set(block, (node = element(block)));
    return node;
  }
}
