// Builds the console: modules that are loaded when a page needs them, one style sheet, the icon. All names carry a hash of
// what they hold and may be cached for ever. What the manifest says of it is what the server makes the page of.
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { cssAsText } from "./css_text.js";
import { hashOf, kilobytes, pack, writePacked } from "./pack.js";

// Browsers of the last two years: the people of the console choose theirs, unlike visitors.
const target = ["chrome123", "firefox120", "safari17.5"];

/** esbuild's options. The files stay in memory until their size is known. */
export const consoleOptions = ({ name, source, styles }, root, define) => ({
  absWorkingDir: root,
  entryPoints: [
    { in: source, out: name },
    { in: styles, out: name },
  ],
  outdir: join(root, "out"), // nothing is written there, esbuild only wants a name
  write: false,
  metafile: true,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "browser",
  target,
  entryNames: "[name].[hash]",
  chunkNames: "[name].[hash]",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  nodePaths: [join(root, "node_modules")],
  define,
  plugins: [cssAsText(target)],
  logLevel: "warning",
});

/** The chunks that must be there before one of `from` can run, themselves included. */
function closure(outputs, from) {
  const found = new Set();
  const add = (name) => {
    if (found.has(name)) return;
    found.add(name);
    for (const { path, kind } of outputs[name].imports) if (kind === "import-statement") add(path);
  };
  from.forEach(add);
  return [...found];
}

/** Writes what was built and gives its line of the manifest. Throws, and writes nothing, over the limit. */
export function publishConsole({ name, source, start, icon, limits }, { outputFiles, metafile }, folder, root) {
  const { outputs } = metafile;
  const made = (module) => {
    const named = relative(root, resolve(root, module)).replaceAll("\\", "/"); // as esbuild writes it
    return Object.keys(outputs).find((each) => outputs[each].entryPoint === named);
  };
  const script = made(source);
  const style = Object.keys(outputs).find((each) => each.endsWith(".css"));
  // What is loaded before the start page shows: the entry, that page, and what both import.
  const first = closure(outputs, [script, made(start)].filter(Boolean));
  const files = new Map(outputFiles.map(({ path, contents }) => [basename(path), pack(contents)]));
  const drawing = readFileSync(icon);
  const iconName = `icon.${hashOf(drawing)}.svg`;
  files.set(iconName, pack(drawing));

  const sum = (form) => first.reduce((total, each) => total + files.get(basename(each))[form].length, 0);
  const sizes = { raw: sum("bytes"), gzip: sum("gzip"), brotli: sum("brotli") };
  const told = `${name}: ${kilobytes(sizes.raw)} raw, ${kilobytes(sizes.gzip)} gzip, ${kilobytes(sizes.brotli)} brotli at first load`;
  if (sizes.gzip > limits.gzip) throw new Error(`${told}: over the limit of ${kilobytes(limits.gzip)} gzip`);

  const place = join(folder, name);
  for (const [file, packed] of files) writePacked(place, file, packed);
  if (existsSync(place)) {
    for (const file of readdirSync(place)) {
      if (!files.has(file.replace(/\.(gz|br)$/, ""))) rmSync(join(place, file));
    }
  }
  console.log(told);
  return {
    script: basename(script),
    style: basename(style),
    icon: iconName,
    preload: first.map((each) => basename(each)).filter((each) => each !== basename(script)),
    files: [...files.keys()].sort(),
    ...sizes,
  };
}
