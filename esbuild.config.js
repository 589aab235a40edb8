// Builds the front ends into server/static/.
//
//   node esbuild.config.js            once; fails when a bundle is over its limit
//   node esbuild.config.js --watch    again at every change
//
// For each entry: NAME.js, its copy NAME.<hash>.js that may be cached for ever, and of both a .gz and a .br made here, so
// that the server compresses nothing. manifest.json says what there is; it is written last.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import * as esbuild from "esbuild";
import { minify } from "terser";

const root = dirname(fileURLToPath(import.meta.url));

/** What is built. Limits are in bytes; the widget's are promised to the owners of the pages that load it. */
export const entries = [
  {
    name: "widget",
    source: join(root, "widget-src", "index.tsx"),
    limits: { raw: 50 * 1024, gzip: 20 * 1024 },
    // Why not Preact itself: see the head of this file.
    alias: { preact: join(root, "widget-src", "dom", "render.ts") },
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

/** `import css from "./x.css"` gives the minified text, for a style element in a shadow root. */
const cssAsText = {
  name: "css-as-text",
  setup(build) {
    build.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const options = { entryPoints: [path], bundle: true, minify: true, write: false, metafile: true, target };
      const { outputFiles, metafile } = await esbuild.build({ ...options, legalComments: "none", logLevel: "silent" });
      const watchFiles = Object.keys(metafile.inputs).map((file) => join(process.cwd(), file));
      return { contents: outputFiles[0].text.trimEnd(), loader: "text", watchFiles };
    });
  },
};

const version = () => /^version = "(.+)"$/m.exec(readFileSync(join(root, "pyproject.toml"), "utf8"))[1];

/** esbuild's options for one entry; the bundle stays in memory until its size is known. */
const options = ({ name, source, alias }) => ({
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
  define: { __VERSION__: JSON.stringify(version()), "process.env.NODE_ENV": '"production"' },
  plugins: [cssAsText],
  logLevel: "warning",
});

/** terser finds what esbuild leaves, about 4% of the gzip size; too slow for every change while watching. */
async function squeezed(text) {
  const { code } = await minify(text, { ecma: 2021, compress: { passes: 5, unsafe_arrows: true }, mangle: true });
  return Buffer.from(code);
}

const kilobytes = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;

/** Writes one bundle with its copies and gives its line of the manifest. Throws, and writes nothing, over the limits. */
export function publish({ name, limits }, bytes, folder) {
  const gzip = gzipSync(bytes, { level: 9 });
  const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  const sizes = `${name}.js: ${kilobytes(bytes.length)} raw, ${kilobytes(gzip.length)} gzip, ${kilobytes(brotli.length)} brotli`;
  if (bytes.length > limits.raw || gzip.length > limits.gzip) {
    throw new Error(`${sizes}: over the limit of ${kilobytes(limits.raw)} raw, ${kilobytes(limits.gzip)} gzip`);
  }
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
  const hashed = `${name}.${hash}.js`;
  const stale = new RegExp(`^${name}\\.[0-9a-f]{16}\\.js(\\.gz|\\.br)?$`);
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(folder)) {
    if (stale.test(file) && !file.startsWith(hashed)) rmSync(join(folder, file));
  }
  for (const file of [`${name}.js`, hashed]) {
    writeFileSync(join(folder, file), bytes);
    writeFileSync(join(folder, `${file}.gz`), gzip);
    writeFileSync(join(folder, `${file}.br`), brotli);
  }
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

/** Builds the entries into the folder. */
export async function build(wanted, folder) {
  const manifest = {};
  for (const entry of wanted) {
    const { outputFiles } = await esbuild.build(options(entry));
    manifest[entry.name] = publish(entry, await squeezed(outputFiles[0].text), folder);
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
        build.onEnd(({ errors, outputFiles }) => {
          if (errors.length > 0) return; // esbuild has printed them
          try {
            manifest[entry.name] = publish(entry, outputFiles[0].contents, folder);
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
