// A sound that tells where one is in it: tones, a sweep, and a burst every 22,050 samples. It is cut into tracks, played
// again as a queue, and looked for in what was heard.
//
// A lag is found by correlation with what was put in, so it is the lag of the whole chain: encoder, boxes, player, browser.

import { header } from './sound.mjs';

/** Bursts lie this far apart, at any rate. */
export const APART = 22050;
const BURST = [1, -1, 1, 1, -1, -1, 1, -1, -1, -1, 1, 1, 1, -1, 1, -1];
/** A burst's step lasts this many samples: at 64 kbit/s nothing is left of faster ones. */
const STEP = 8;
/** Samples that are compared around a burst. */
const WINDOW = 800;
/** How far off a sound is looked for. */
const LAGS = 1100;

/** `samples` numbers of 16 bits, the same for both channels. */
export function signal(samples, rate) {
  const out = new Int16Array(samples);
  for (let i = 0; i < samples; i++) {
    const t = i / rate;
    let value = 0.12 * Math.sin(2 * Math.PI * (300 + 55 * t) * t) + 0.08 * Math.sin(2 * Math.PI * 997 * t) + 0.06 * Math.sin(2 * Math.PI * 2310.7 * t);
    value += 0.45 * (BURST[Math.floor((i % APART) / STEP)] ?? 0);
    out[i] = Math.round(value * 32000);
  }
  return out;
}

/** 16-bit stereo WAV of it. */
export function wavOf(mono, rate) {
  const body = Buffer.alloc(44 + mono.length * 4);
  header(body, mono.length * 4, rate);
  for (let i = 0; i < mono.length; i++) {
    body.writeInt16LE(mono[i], 44 + i * 4);
    body.writeInt16LE(mono[i], 46 + i * 4);
  }
  return body;
}

/**
 * Where `heard` has the source's sample `at`, beside where it is expected: the lag of the best match, and how good it is
 * (1 is the same sound). Null where it lies outside.
 */
export function lagAt(source, heard, at, expected, lags = LAGS) {
  const from = Math.max(0, Math.min(at - WINDOW / 2, source.length - WINDOW));
  const first = expected + from - at;
  if (first - lags < 0 || first + WINDOW + lags > heard.length) return null;
  let best = { lag: 0, match: -Infinity };
  for (let lag = -lags; lag <= lags; lag++) {
    let dot = 0;
    let a = 0;
    let b = 0;
    for (let i = 0; i < WINDOW; i++) {
      const x = source[from + i];
      const y = heard[first + lag + i];
      dot += x * y;
      a += x * x;
      b += y * y;
    }
    const match = dot / Math.sqrt(a * b + 1e-9);
    if (match > best.match) best = { lag, match };
  }
  return best;
}

/** The places of all bursts within `[from, to)`. */
export function burstsIn(from, to) {
  const first = Math.ceil(from / APART) * APART;
  return Array.from({ length: Math.max(0, Math.ceil((to - first) / APART)) }, (_, i) => first + i * APART);
}

/** The index of the first sample that isn't silence. */
export function onset(heard) {
  return heard.findIndex((value) => Math.abs(value) > 1e-3);
}
