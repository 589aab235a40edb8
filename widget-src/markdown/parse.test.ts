import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Inline } from './inline.ts';
import { type Block, createStream, parse } from './parse.ts';

/** The tree in one line, close to HTML, so that a case reads as what a person would see. */
const show = (blocks: Block[]): string => blocks.map(showBlock).join('');

const text = (nodes: Inline[]): string =>
  nodes
    .map((node) => {
      if (typeof node === 'string') return node;
      if (node.tag === 'br') return '<br>';
      if (node.tag === 'cite') return `<cite ${node.n}>`;
      if (node.tag === 'code') return `<code>${node.text}</code>`;
      if (node.tag === 'a') return `<a ${node.href}${node.title ? ` (${node.title})` : ''}>${text(node.kids)}</a>`;
      return `<${node.tag}>${text(node.kids)}</${node.tag}>`;
    })
    .join('');

function showBlock(block: Block): string {
  const items = (all: Block[][]): string => all.map((item) => `<li>${show(item)}</li>`).join('');
  switch (block.tag) {
    case 'p':
      return `<p>${text(block.kids)}</p>`;
    case 'heading':
      return `<h${block.level}>${text(block.kids)}</h${block.level}>`;
    case 'pre':
      return `<pre ${block.lang}>${block.text}</pre>`;
    case 'hr':
      return '<hr>';
    case 'ul':
      return `<ul>${items(block.items)}</ul>`;
    case 'ol':
      return `<ol ${block.start}>${items(block.items)}</ol>`;
    case 'blockquote':
      return `<quote>${show(block.blocks)}</quote>`;
    case 'table': {
      const row = (cells: Inline[][]): string => `<tr>${cells.map(text).join('|')}</tr>`;
      return `<table ${block.align.map((a) => a ?? '-').join(' ')}>${row(block.head)}${block.rows.map(row).join('')}</table>`;
    }
  }
}

const finished: [source: string, shown: string][] = [
  ['', ''],
  ['  \n\n ', ''],
  ['one', '<p>one</p>'],
  ['one\ntwo', '<p>one<br>two</p>'],
  ['one  \r\ntwo\r\n\r\nthree', '<p>one<br>two</p><p>three</p>'],
  ['**b** *i* __b__ _i_ ~~s~~ ***bi***', '<p><strong>b</strong> <em>i</em> <strong>b</strong> <em>i</em> <del>s</del> <em><strong>bi</strong></em></p>'],
  ['**a *b* c** and *a **b** c*', '<p><strong>a <em>b</em> c</strong> and <em>a <strong>b</strong> c</em></p>'],
  ['***a** b*', '<p><em><strong>a</strong> b</em></p>'],
  ['**Open:**today', '<p><strong>Open:</strong>today</p>'],
  ['snake_case_name and 2 * 3 * 4 and ~5', '<p>snake_case_name and 2 * 3 * 4 and ~5</p>'],
  ['**open and *open', '<p>**open and *open</p>'],
  ['****four****', '<p>****four****</p>'],
  ['`a *b* <c>` ``x ` y`` ` lone', '<p><code>a *b* <c></code> <code>x ` y</code> ` lone</p>'],
  ['`` ` ``', '<p><code>`</code></p>'],
  ['\\*a\\* \\[1\\] \\a \\', '<p>*a* [1] \\a \\</p>'],
  ['see [1], [12][3] and [x] and [1234]', '<p>see <cite 1>, <cite 12><cite 3> and [x] and [1234]</p>'],
  ['[menu](https://a.example/x_(y)?q=1 "t")', '<p><a https://a.example/x_(y)?q=1 (a.example)>menu</a></p>'],
  ['[**bold** link](<https://a.example>)', '<p><a https://a.example/ (a.example)><strong>bold</strong> link</a></p>'],
  ['[a.example/x](https://a.example/x)', '<p><a https://a.example/x>a.example/x</a></p>'],
  ['[bank.example](https://evil.example/bank.example)', '<p><a https://evil.example/bank.example (evil.example)>bank.example</a></p>'],
  ['[https://a.example](https://b.example)', '<p><a https://b.example/ (b.example)>https://a.example</a></p>'],
  ['[](https://a.example/)', '<p><a https://a.example/>https://a.example/</a></p>'],
  ['[a [b](https://b.example) c](https://c.example)', '<p>[a <a https://b.example/ (b.example)>b</a> c](<a https://c.example/>https://c.example</a>)</p>'],
  ['[write](mailto:joe@a.example)', '<p><a mailto:joe@a.example (joe@a.example)>write</a></p>'],
  ['[here](/menu) [there](//a.example) [b](b.html) [c](#d)', '<p>here there b c</p>'],
  ['![a pizza](https://a.example/p.png)', '<p><a https://a.example/p.png (a.example)>a pizza</a></p>'],
  ['![a pizza](data:image/png;base64,AA)', '<p>a pizza</p>'],
  ['[![badge](https://a.example/b.svg)](https://c.example)', '<p><a https://c.example/ (c.example)>badge</a></p>'],
  ['At https://a.example/x?y=1, (http://b.example/c_(d)). Bye', '<p>At <a https://a.example/x?y=1>https://a.example/x?y=1</a>, (<a http://b.example/c_(d)>http://b.example/c_(d)</a>). Bye</p>'],
  ['**https://a.example** <https://b.example>', '<p><strong><a https://a.example/>https://a.example</a></strong> <a https://b.example/>https://b.example</a></p>'],
  ['Mail john_doe+x@shop.example.com.', '<p>Mail <a mailto:john_doe+x@shop.example.com>john_doe+x@shop.example.com</a>.</p>'],
  ['user@host and @name', '<p>user@host and @name</p>'],
  ['<b>no</b><img src=x>', '<p><b>no</b><img src=x></p>'],
  ['# One\n## Two ##\n###### C#\n#no', '<h1>One</h1><h2>Two</h2><h6>C#</h6><p>#no</p>'],
  ['a\n---\nb\n***\n_ _ _', '<p>a</p><hr><p>b</p><hr><hr>'],
  ['```python title\nx = "`" # <b>\n\n  y\n```\nafter', '<pre python>x = "`" # <b>\n\n  y</pre><p>after</p>'],
  ['~~~\n```\n~~~~', '<pre >```</pre>'],
  ['```\nnever closed', '<pre >never closed</pre>'],
  ['```inline```', '<p>```inline```</p>'.replace('```inline```', '<code>inline</code>')],
  ['- a\n- b\n  - c\n    - d\n- e', '<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p><ul><li><p>d</p></li></ul></li></ul></li><li><p>e</p></li></ul>'],
  ['3. a\n4. b\n\n5. c', '<ol 3><li><p>a</p></li><li><p>b</p></li><li><p>c</p></li></ol>'],
  ['1. a\n  - b\n   - c\n2. d', '<ol 1><li><p>a</p><ul><li><p>b</p></li><li><p>c</p></li></ul></li><li><p>d</p></li></ol>'],
  ['1. a\n\n   more\n\n   ```\n   code\n   ```\n2) b', '<ol 1><li><p>a</p><p>more</p><pre >code</pre></li><li><p>b</p></li></ol>'],
  ['- a\nlazy\n\nafter', '<ul><li><p>a<br>lazy</p></li></ul><p>after</p>'],
  ['- a\n1. b', '<ul><li><p>a</p></li></ul><ol 1><li><p>b</p></li></ol>'],
  ['-\n  a', '<ul><li><p>a</p></li></ul>'],
  ['We opened in\n1986. A good year', '<p>We opened in<br>1986. A good year</p>'],
  ['Toppings:\n* ham\n* egg', '<p>Toppings:</p><ul><li><p>ham</p></li><li><p>egg</p></li></ul>'],
  ['> a\n> > b\n>\n> - c\nout', '<quote><p>a</p><quote><p>b</p></quote><ul><li><p>c</p></li></ul></quote><p>out</p>'],
  ['| a | b |\n|:--|--:|\n| 1 | **2** |\n| \\| `x` |\n\nend', '<table left right><tr>a|b</tr><tr>1|<strong>2</strong></tr><tr>| <code>x</code></tr></table><p>end</p>'],
  ['text\na | b\n:-:|-\n1 | 2 | 3\nend', '<p>text</p><table center -><tr>a|b</tr><tr>1|2</tr></table><p>end</p>'],
  ['a | b\n\nno table', '<p>a | b</p><p>no table</p>'],
  ['שלום **עולם**', '<p>שלום <strong>עולם</strong></p>'],
];

for (const [source, shown] of finished) {
  test(`finished: ${JSON.stringify(source)}`, () => assert.equal(show(parse(source)), shown));
}

const arriving: [source: string, shown: string][] = [
  ['a **bo', '<p>a <strong>bo</strong></p>'],
  ['a **', '<p>a </p>'],
  ['a **bold*', '<p>a <strong>bold</strong></p>'],
  ['a **bold** *it', '<p>a <strong>bold</strong> <em>it</em></p>'],
  ['a ***bo', '<p>a <em><strong>bo</strong></em></p>'],
  ['**a *b', '<p><strong>a <em>b</em></strong></p>'],
  ['a ~~str', '<p>a <del>str</del></p>'],
  ['a `co', '<p>a <code>co</code></p>'],
  ['a `', '<p>a </p>'],
  ['a ``co`', '<p>a <code>co</code></p>'],
  ['a \\', '<p>a </p>'],
  ['see [the me', '<p>see the me</p>'],
  ['see [the menu]', '<p>see the menu</p>'],
  ['see [the menu](', '<p>see the menu</p>'],
  ['see [the menu](https://a.exa', '<p>see the menu</p>'],
  ['see [the menu](https://a.example "ti', '<p>see the menu</p>'],
  ['see [**the** me', '<p>see <strong>the</strong> me</p>'],
  ['see ![a pi', '<p>see a pi</p>'],
  ['see [x] the', '<p>see [x] the</p>'],
  ['so [1', '<p>so 1</p>'],
  ['so [1]', '<p>so <cite 1></p>'],
  ['at https://a.exam', '<p>at https://a.exam</p>'],
  ['at https://a.example/ and', '<p>at <a https://a.example/>https://a.example/</a> and</p>'],
  ['joe@a.exam', '<p>joe@a.exam</p>'],
  ['**bo\n\nnext', '<p>**bo</p><p>next</p>'],
  ['```', ''],
  ['```py', '<pre ></pre>'],
  ['```py\nx = 1', '<pre py>x = 1</pre>'],
  ['```py\nx = 1\n``', '<pre py>x = 1</pre>'],
  ['```py\nx = **', '<pre py>x = **</pre>'],
  ['text\n-', '<p>text</p>'],
  ['- a\n- ', '<ul><li><p>a</p></li></ul>'],
  ['- a\n  -', '<ul><li><p>a</p></li></ul>'],
  ['- a\n- **b', '<ul><li><p>a</p></li><li><p><strong>b</strong></p></li></ul>'],
  ['text\n1', '<p>text</p>'],
  ['text\n1.', '<p>text</p>'],
  ['##', ''],
  ['## Ti **t', '<h2>Ti <strong>t</strong></h2>'],
  ['>', ''],
  ['> a **b', '<quote><p>a <strong>b</strong></p></quote>'],
  ['> a\n> -', '<quote><p>a</p></quote>'],
  ['| a | b |', ''],
  ['| a | b |\n', ''],
  ['text\n| a | b |\n|--', '<p>text</p>'],
  ['| a | b |\n|---|---|\n', '<table - -><tr>a|b</tr></table>'],
  ['| a | b |\n|---|---|\n| 1 | 2', '<table - -><tr>a|b</tr></table>'],
  ['| a | b |\n|---|---|\n| 1 | 2 |\n', '<table - -><tr>a|b</tr><tr>1|2</tr></table>'],
];

for (const [source, shown] of arriving) {
  test(`arriving: ${JSON.stringify(source)}`, () => assert.equal(show(parse(source, true)), shown));
}

/** mulberry32: the same numbers in every run. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const PIECES = [
  ...finished.map(([source]) => source),
  '**', '*', '_', '~~', '`', '```\n', '\n', '\n\n', '\r\n', '- ', '1. ', '  ', '> ', '# ', '|', '|---|\n', '[', '](', ')', '![', 'https://a.example', '@b.example', '\\', 'word ', '[1]', '<b>', '---\n',
];

test('however a text is cut on its way, the tree at the end is the tree of the whole text', () => {
  const next = random(20);
  const pick = (n: number): number => Math.floor(next() * n);
  for (let round = 0; round < 1500; round++) {
    const source = Array.from({ length: 1 + pick(14) }, () => PIECES[pick(PIECES.length)] + (pick(3) ? '' : '\n\n')).join('');
    const stream = createStream();
    for (let end = 0; end < source.length; end += 1 + pick(12)) {
      assert.deepEqual(stream(source.slice(0, end), true), parse(source.slice(0, end), true), JSON.stringify(source.slice(0, end)));
    }
    assert.deepEqual(stream(source), parse(source), JSON.stringify(source));
  }
});

test('a text that is replaced rather than continued is parsed afresh', () => {
  const stream = createStream();
  stream('a\n\nb\n\nc\n\nd', true);
  assert.equal(show(stream('x\n\ny')), '<p>x</p><p>y</p>');
});

test('a finished block keeps its identity while others arrive and when the text is done', () => {
  const source = 'a **b**\n\n- c\n- d\n\n```js\ne\n```\n\n> f\n\n| g | h |\n|---|---|\n| 1 | 2 |\n\nend **x';
  const stream = createStream();
  let before: Block[] = [];
  for (let end = 1; end <= source.length; end++) {
    const now = stream(source.slice(0, end), true);
    for (let k = 0; k < before.length - 2; k++) assert.equal(now[k], before[k], `block ${k} at ${end}`);
    before = now;
  }
  const done = stream(source);
  assert.equal(done.length, 6);
  for (let k = 0; k < 5; k++) assert.equal(done[k], before[k]);
});

test('an update looks at the last blocks only', () => {
  const settled = 'A paragraph with **bold** words.\n\n'.repeat(2000);
  const stream = createStream();
  stream(settled + 'end', true);
  const texts: string[] = [];
  const slice = String.prototype.split;
  String.prototype.split = function (this: string, ...of: Parameters<typeof slice>) {
    texts.push(String(this));
    return slice.apply(this, of);
  } as typeof slice;
  try {
    stream(settled + 'end **of', true);
  } finally {
    String.prototype.split = slice;
  }
  assert.ok(texts.length > 0 && texts.join('').length < 200, `${texts.join('').length} characters were split`);
});

/** CPU milliseconds for one parse, the best of some tries, so that a busy machine does not count. */
function cost(source: string, open: boolean): number {
  let best = Infinity;
  for (let i = 0; i < 4; i++) {
    const start = process.cpuUsage();
    parse(source, open);
    const { user, system } = process.cpuUsage(start);
    best = Math.min(best, (user + system) / 1000);
  }
  return best;
}

const HOSTILE = [
  '[', ']', '*', '**a ', '_', '_a ', '*a _a ', '~~a ', '`', '`a', '``a`', '``` ` ', '>', '> ', '> - ', '- ', '  - a\n', '1. ', '1. a\n', '#', '# ', '# #', '|', '|a', '|a|\n', '|-', '|-|\n', '!', '![', '[a](', '[a](b', '[a](b "', '[a](( ', '[a](<', '[a]((a)', '](', '[[a]', '[1]', '<', '<a', '<http://', 'http://', 'http://a', 'http://%', 'http://a.)', 'http://a((', '@', 'a@', 'a@b.', 'a@b.co', '!@b.co', '@b.co.', '\\', '\\\n', '\n', ' \n', ' ', '\t', 'a\n', 'a \n\n', '-', '- - ', '* * a', '***', '***a', '**a**', 'a*b', '_ _', '```\n', '~~~\n', '``\n', '\r', '\r\n', '\0', '&#', '*[`', '[*_', 'a|b\n-|-\n', '|a|b|c|\n|-|-|-|\n||\n', '> > a\n\n', '- a\n\n', '- a\n   b\n',
];

for (const piece of HOSTILE) {
  test(`cost grows with length, not with its square: ${JSON.stringify(piece)}`, () => {
    const repeat = (length: number): string => piece.repeat(Math.ceil(length / piece.length));
    for (const open of [false, true]) {
      const small = Math.max(cost(repeat(6_000), open), 1);
      const large = cost(repeat(96_000), open);
      // 16 times the text: linear is about 16, quadratic 256.
      assert.ok(large / small < 90, `${small} ms -> ${large} ms, open: ${open}`);
    }
  });
}

test('a wide head with many empty rows makes no more cells than the text has', () => {
  const wide = 500;
  const [table] = parse(`|${'a|'.repeat(wide)}\n|${'-|'.repeat(wide)}\n${'||\n'.repeat(2000)}`);
  assert.ok(table?.tag === 'table' && table.rows.length === 2000);
  assert.ok(table.rows.every((row) => row.length <= 2));
});
