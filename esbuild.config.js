// Builds the front ends into server/static/.
//
//   node esbuild.config.js            once; fails when a bundle is over its limit
//   node esbuild.config.js --watch    again at every change
//
// For a script: NAME.js, its copy NAME.<hash>.js that may be cached for ever, and of both a .gz and a .br made here, so
// that the server compresses nothing. For the console: scripts/assets/console.js. manifest.json says what there is; it is
// written last.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { minify } from "terser";
import { consoleOptions, publishConsole } from "./scripts/assets/console.js";
import { cssAsText } from "./scripts/assets/css_text.js";
import { hashOf, kilobytes, pack, writePacked } from "./scripts/assets/pack.js";

const root = dirname(fileURLToPath(import.meta.url));

/** What is built. Limits are in bytes; the widget's are promised to the owners of the pages that load it. */
export const entries = [
  {
    name: "widget",
    kind: "script",
    source: join(root, "widget-src", "index.tsx"),
    limits: { raw: 50 * 1024, gzip: 20 * 1024 },
    // Why not Preact itself: see the head of that one.
    alias: { preact: join(root, "widget-src", "dom", "render.ts") },
  },
  {
    name: "admin",
    kind: "console",
    source: "admin/index.tsx",
    styles: "admin/styles/index.css",
    start: "admin/inbox/index.tsx",
    icon: join(root, "admin", "icon.svg"),
    limits: { gzip: 150 * 1024 },
  },
];
const demo = join(root, "widget-src", "demo");
// The widget's words in other languages than English: GET /api/v1/config sends those that a page wants.
const strings = join(root, "widget-src", "view", "i18n");
// The page at /docs: Swagger UI's own bundle, and the script that starts it.
const docs = [
  join(root, "node_modules", "swagger-ui-dist", "swagger-ui-bundle.js"),
  join(root, "node_modules", "swagger-ui-dist", "swagger-ui.css"),
  join(root, "scripts", "docs", "start.js"),
];
const target = ["es2021", "safari14.1"];

const version = () => /^version = "(.+)"$/m.exec(readFileSync(join(root, "pyproject.toml"), "utf8"))[1];

const define = () => ({ __VERSION__: JSON.stringify(version()), "process.env.NODE_ENV": '"production"' });

/** esbuild's options for one script; the bundle stays in memory until its size is known. */
const scriptOptions = ({ name, source, alias }) => ({
  entryPoints: { [name]: source },
  outdir: root, // nothing is written there, esbuild only wants a name
  write: false,
  bundle: true,
  format: "iife",
  platform: "browser",
  target,
  minify: true,
  charset: "utf8",
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  alias,
  nodePaths: [join(root, "node_modules")],
  define: define(),
  plugins: [cssAsText(target)],
  logLevel: "warning",
});

/** terser finds what esbuild leaves, about 4% of the gzip size; too slow for every change while watching. */
async function squeezed(text) {
  const { code } = await minify(text, { ecma: 2021, compress: { passes: 2, unsafe_arrows: true }, mangle: true });
  return Buffer.from(code);
}

/** Writes one script with its copies and gives its line of the manifest. Throws, and writes nothing, over the limits. */
export function publish({ name, limits }, bytes, folder) {
  const packed = pack(bytes);
  const { gzip, brotli } = packed;
  const sizes = `${name}.js: ${kilobytes(bytes.length)} raw, ${kilobytes(gzip.length)} gzip, ${kilobytes(brotli.length)} brotli`;
  if (bytes.length > limits.raw || gzip.length > limits.gzip) {
    throw new Error(`${sizes}: over the limit of ${kilobytes(limits.raw)} raw, ${kilobytes(limits.gzip)} gzip`);
  }
  const hash = hashOf(bytes);
  const hashed = `${name}.${hash}.js`;
  const stale = new RegExp(`^${name}\\.[0-9a-f]{16}\\.js(\\.gz|\\.br)?$`);
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(folder)) {
    if (stale.test(file) && !file.startsWith(hashed)) rmSync(join(folder, file));
  }
  for (const file of [`${name}.js`, hashed]) writePacked(folder, file, packed);
  console.log(sizes);
  return { file: hashed, hash, raw: bytes.length, gzip: gzip.length, brotli: brotli.length };
}

function writeManifest(manifest, folder) {
  writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

function copyDemo(folder) {
  rmSync(join(folder, "demo"), { recursive: true, force: true });
  if (existsSync(demo)) cpSync(demo, join(folder, "demo"), { recursive: true });
}

function copyStrings(folder) {
  for (const file of readdirSync(strings)) {
    if (file.endsWith(".json")) cpSync(join(strings, file), join(folder, "strings", file));
  }
}

function copyDocs(folder) {
  for (const file of docs) cpSync(file, join(folder, "docs", basename(file)));
}

const options = (entry) => (entry.kind === "console" ? consoleOptions(entry, root, define()) : scriptOptions(entry));

/** Builds the entries into the folder. */
export async function build(wanted, folder) {
  const manifest = {};
  for (const entry of wanted) {
    const built = await esbuild.build(options(entry));
    manifest[entry.name] =
      entry.kind === "console"
        ? publishConsole(entry, built, folder, root)
        : publish(entry, await squeezed(built.outputFiles[0].text), folder);
  }
  copyDemo(folder);
  copyStrings(folder);
  copyDocs(folder);
  writeManifest(manifest, folder);
}

async function rebuildAtEveryChange(wanted, folder) {
  const manifest = {};
  for (const entry of wanted) {
    const publishing = {
      name: "publish",
      setup(build) {
        build.onEnd((built) => {
          if (built.errors.length > 0) return; // esbuild has printed them
          try {
            const isConsole = entry.kind === "console";
            manifest[entry.name] = isConsole
              ? publishConsole(entry, built, folder, root)
              : publish(entry, built.outputFiles[0].contents, folder);
            writeManifest(manifest, folder);
          } catch (error) {
            console.error(error.message);
          }
        });
      },
    };
    const settings = options(entry);
    const context = await esbuild.context({ ...settings, plugins: [...settings.plugins, publishing] });
    await context.watch();
  }
  copyDemo(folder);
  copyStrings(folder);
  copyDocs(folder);
  if (existsSync(demo)) watch(demo, { recursive: true }, () => copyDemo(folder));
  watch(strings, () => copyStrings(folder));
}

if (import.meta.main) {
  const folder = join(root, "server", "static");
  try {
    await (process.argv.includes("--watch") ? rebuildAtEveryChange : build)(entries, folder);
  } catch (error) {
    console.error(error.errors ? "the build failed" : error.message); // esbuild has printed its own
    process.exit(1);
  }
}
