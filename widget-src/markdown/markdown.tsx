/**
 * Markdown as Preact nodes: elements of a fixed set and text, never HTML.
 *
 * `h` instead of JSX, because tag names are data here. Classes are styled by `view/styles/markdown.css`.
 */
import { Component, type ComponentChild, h } from 'preact';
import type { Inline } from './inline.ts';
import { type Block, createStream } from './parse.ts';

export interface MarkdownProps {
  text: string;
  /** The text is still arriving. */
  streaming?: boolean;
}

const REL = 'noopener noreferrer nofollow ugc';

const draw = (nodes: (Inline | Block)[]): ComponentChild[] => nodes.map(node);

/** An item's first paragraph stands beside its mark, without a paragraph's margins. */
function item([first, ...rest]: Block[]): ComponentChild {
  return h('li', null, first?.tag === 'p' ? draw(first.kids) : first && node(first), draw(rest));
}

function table({ align, head, rows }: Extract<Block, { tag: 'table' }>): ComponentChild {
  const row = (tag: 'th' | 'td', cells: Inline[][]): ComponentChild =>
    h('tr', null, cells.map((cell, i) => h(tag, { class: align[i] && 'md-' + align[i] }, draw(cell))));
  const body = h('tbody', null, rows.map((cells) => row('td', cells)));
  // Reachable by Tab, so that a wide table can be scrolled with the keyboard.
  return h('div', { class: 'md-table', tabIndex: 0 }, h('table', null, h('thead', null, row('th', head)), body));
}

function node(it: Inline | Block): ComponentChild {
  if (typeof it === 'string') return it;
  switch (it.tag) {
    case 'a':
      return h('a', { href: it.href, title: it.title, rel: REL, target: '_blank' }, draw(it.kids));
    case 'code':
      return h('code', { dir: 'ltr' }, it.text);
    case 'cite':
      return h('sup', { class: 'md-cite' }, `[${it.n}]`);
    case 'heading':
      // The page has its own outline: a model's title is never above level 3 of it.
      return h('div', { class: 'md-h', role: 'heading', 'aria-level': Math.min(it.level + 2, 6) }, draw(it.kids));
    case 'pre':
      return h(
        'div',
        { class: 'md-code', dir: 'ltr' },
        it.lang && h('div', { class: 'md-lang' }, it.lang),
        h('pre', { tabIndex: 0 }, h('code', null, it.text)),
      );
    case 'ul':
      return h('ul', null, it.items.map(item));
    case 'ol':
      return h('ol', { start: it.start }, it.items.map(item));
    case 'blockquote':
      return h('blockquote', null, draw(it.blocks));
    case 'table':
      return table(it);
    case 'p':
      return h('p', null, draw(it.kids));
    default:
      return h(it.tag, null, 'kids' in it && draw(it.kids));
  }
}

/** The same for an answer that streams and one that is done. A finished block keeps its node, so it is not drawn again. */
export class Markdown extends Component<MarkdownProps> {
  declare render: (props: MarkdownProps) => ComponentChild;

  constructor(props: MarkdownProps) {
    super(props);
    const blocks = createStream();
    const nodes = new WeakMap<Block, ComponentChild>();
    const known = (block: Block): ComponentChild => {
      if (!nodes.has(block)) nodes.set(block, node(block));
      return nodes.get(block);
    };
    this.render = ({ text, streaming }) => h('div', { class: 'md' }, blocks(text, streaming).map(known));
  }
}
