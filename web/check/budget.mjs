// Weighs what a first visit loads and what the first Play adds, gzipped, and fails above the budget. A Play loads one of
// two: the gapless player for a finished track, or hls.js for one that grows.

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const FIRST_LOAD_BYTES = 35 * 1024;
const PLAYER_BYTES = { gapless: 8 * 1024, hls: 118 * 1024 };

const dist = new URL('../dist/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('manifest.json', dist), 'utf8'));
const weigh = (name) => gzipSync(readFileSync(new URL(name, dist)), { level: 9 }).length;

/** The files that a chunk pulls in by itself, without a dynamic import. */
function pulled(key, seen = new Set()) {
  if (seen.has(key)) return seen;
  seen.add(key);
  for (const next of manifest[key].imports ?? []) pulled(next, seen);
  return seen;
}

const entry = Object.keys(manifest).find((key) => manifest[key].isEntry);
const first = [...pulled(entry)];
const later = [...new Set(first.flatMap((key) => manifest[key].dynamicImports ?? []))];
const sum = (keys) => keys.reduce((n, key) => n + weigh(manifest[key].file), 0);
const onLoad = sum(first);
let isOver = onLoad > FIRST_LOAD_BYTES;

console.log(`first load ${onLoad} of ${FIRST_LOAD_BYTES} bytes gzip`);
for (const [name, budget] of Object.entries(PLAYER_BYTES)) {
  const key = later.find((key) => key.endsWith(`/${name}.ts`));
  const bytes = key === undefined ? Infinity : sum([...pulled(key)].filter((key) => !first.includes(key)));
  console.log(`${name} ${bytes} of ${budget}`);
  isOver ||= bytes > budget;
}
if (isOver || later.length !== Object.keys(PLAYER_BYTES).length) {
  console.error('over budget, or a player is no longer loaded lazily');
  process.exit(1);
}
