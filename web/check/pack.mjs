// After `vite build`: compresses every file beside itself and writes `index.txt`, the flat list that the
// server's build reads. Promise: the same files in give the same bytes out; no date, no name of a machine.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = new URL('../dist/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('manifest.json', dist), 'utf8'));
const entry = Object.values(manifest).find((chunk) => chunk.isEntry);
if (entry === undefined) throw new Error('the manifest names no entry');

const files = readdirSync(dist).filter((name) => /\.(js|css|svg)$/.test(name)).sort();
for (const name of files) {
  const raw = readFileSync(new URL(name, dist));
  writeFileSync(new URL(`${name}.gz`, dist), gzipSync(raw, { level: 9 }));
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length };
  writeFileSync(new URL(`${name}.br`, dist), brotliCompressSync(raw, { params }));
}
const lines = [`script ${entry.file}`, ...(entry.css ?? []).map((name) => `style ${name}`), ...files.filter((name) => name.endsWith('.svg')).map((name) => `icon ${name}`), ...files.map((name) => `file ${name}`)];
writeFileSync(new URL('index.txt', dist), `${lines.join('\n')}\n`);
