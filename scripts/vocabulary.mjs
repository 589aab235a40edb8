// Writes server/llm/vocabulary/*.tiktoken, the files from which tiktoken counts tokens, out of the npm package
// js-tiktoken. tiktoken by itself downloads them when it first counts, which fails on a closed network.
//
//   node scripts/vocabulary.mjs [output folder]
//
// Run it after `npm ci`, in the folder that holds node_modules. It writes only what is missing or different,
// and fails when a file is not byte for byte the one that OpenAI publishes.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

// SHA-256 of the published files, as tiktoken/tiktoken_ext/openai_public.py expects them.
const PUBLISHED = {
  o200k_base: "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
  cl100k_base: "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
};

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

// js-tiktoken keeps runs of tokens with consecutive ranks, one run a line: "! <first rank> <base64> <base64> ...".
function tiktokenFile(ranks) {
  const lines = [];
  for (const run of ranks.bpe_ranks.split("\n").filter(Boolean)) {
    const [, first, ...tokens] = run.split(" ");
    tokens.forEach((token, i) => lines.push([Number.parseInt(first, 10) + i, token]));
  }
  lines.sort((a, b) => a[0] - b[0]);
  return Buffer.from(lines.map(([rank, token]) => `${token} ${rank}\n`).join(""));
}

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(process.argv[2] ?? join(here, "..", "server", "llm", "vocabulary"));
const require = createRequire(join(process.cwd(), "package.json"));
mkdirSync(folder, { recursive: true });

for (const [name, expected] of Object.entries(PUBLISHED)) {
  const path = join(folder, `${name}.tiktoken`);
  if (existsSync(path) && sha256(readFileSync(path)) === expected) continue;
  const bytes = tiktokenFile(require(`js-tiktoken/ranks/${name}`));
  if (sha256(bytes) !== expected) {
    console.error(`${name}: js-tiktoken's ranks are not the published vocabulary (sha256 ${sha256(bytes)})`);
    process.exit(1);
  }
  writeFileSync(`${path}.part`, bytes);
  renameSync(`${path}.part`, path);
  console.log(`${name}.tiktoken: ${bytes.length} bytes`);
}
