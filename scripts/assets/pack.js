// Built files as they are served: each with a .gz and a .br made here, so that the server compresses nothing.
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

export const kilobytes = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;

export const hashOf = (bytes) => createHash("sha256").update(bytes).digest("hex").slice(0, 16);

/** The bytes in their three forms. */
export function pack(bytes) {
  const gzip = gzipSync(bytes, { level: 9 });
  const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  return { bytes, gzip, brotli };
}

export function writePacked(folder, name, { bytes, gzip, brotli }) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), bytes);
  writeFileSync(join(folder, `${name}.gz`), gzip);
  writeFileSync(join(folder, `${name}.br`), brotli);
}
