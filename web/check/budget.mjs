// Weighs what a first visit loads and what the first Play adds, gzipped, and fails above the budget.

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const FIRST_LOAD_BYTES = 35 * 1024;
const PLAYER_BYTES = 118 * 1024;

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
const later = [...new Set(first.flatMap((key) => manifest[key].dynamicImports ?? []).flatMap((key) => [...pulled(key)]))];
const sum = (keys) => keys.reduce((n, key) => n + weigh(manifest[key].file), 0);
const onPlay = sum(later.filter((key) => !first.includes(key)));
const onLoad = sum(first);

console.log(`first load ${onLoad} of ${FIRST_LOAD_BYTES} bytes gzip, first play ${onPlay} of ${PLAYER_BYTES}`);
if (later.length === 0 || onLoad > FIRST_LOAD_BYTES || onPlay > PLAYER_BYTES) {
  console.error('over budget, or the player is no longer loaded lazily');
  process.exit(1);
}
