// Reads our own playlists: the rungs of a track, and where a rung is cut. Pure.
//
// Absent: every tag that we don't write. What must play anything has hls.js.

import { rungName } from '../format';

/** One rung of one track. */
export interface Rung {
  name: string;
  /** RFC 6381, as the browser wants it. */
  codec: string;
  isAac: boolean;
  /** Mean bits per second. */
  bps: number;
  url: string;
}

/** A rung's segments. `starts` are sample numbers on the track's own timeline, one per segment. */
export interface Cuts {
  init: string;
  urls: string[];
  starts: number[];
}

/** The rungs of a multivariant playlist at the absolute `url`, in its order: the first is the one to start with. */
export function rungsOf(text: string, url: string): Rung[] {
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    const [, told] = /^#EXT-X-STREAM-INF:(.*)$/.exec(line) ?? [];
    const uri = lines[i + 1];
    if (told === undefined || uri === undefined || uri === '') return [];
    const fields = attributes(told);
    const codec = fields.get('CODECS') ?? '';
    const bps = Number(fields.get('AVERAGE-BANDWIDTH') ?? fields.get('BANDWIDTH'));
    const name = rungName(codec, bps, fields.get('STABLE-VARIANT-ID'));
    return [{ name, codec, isAac: codec.startsWith('mp4a'), bps, url: beside(uri, url) }];
  });
}

/** The segments of a finished media playlist at the absolute `url`. */
export function cutsOf(text: string, url: string, rate: number): Cuts {
  const init = /^#EXT-X-MAP:URI="([^"]+)"$/m.exec(text)?.[1];
  if (init === undefined || !text.includes('#EXT-X-ENDLIST')) throw new Error('The playlist isn’t whole.');
  const cuts: Cuts = { init: beside(init, url), urls: [], starts: [] };
  let micros = 0;
  let next = 0;
  for (const line of text.split('\n')) {
    const told = /^#EXTINF:(\d+)\.(\d{6}),/.exec(line);
    if (told !== null) next = micros + Number(told[1]) * 1e6 + Number(told[2]);
    else if (line !== '' && !line.startsWith('#')) {
      // Durations are differences of rounded instants, so the sum is off by half a microsecond: never half a sample.
      cuts.starts.push(Math.round((micros * rate) / 1e6));
      cuts.urls.push(beside(line, url));
      micros = next;
    }
  }
  return cuts;
}

/** The segment that holds the sample. */
export function segmentAt(cuts: Cuts, sample: number): number {
  const after = cuts.starts.findIndex((start) => start > sample);
  return after < 0 ? cuts.starts.length - 1 : Math.max(0, after - 1);
}

/** A rung that is worth its bits needs this many times its own rate, to be taken and to be kept. */
const TAKEN = 2;
const KEPT = 1.25;

/**
 * The rung to load next. A choice holds wherever the track has it. Else the best AAC rung that the line carries: one
 * codec never changes under the listener's ears unasked.
 */
export function rungFor(rungs: readonly Rung[], choice: string, bitsPerSecond: number | null, now: string | null): Rung {
  const [first] = rungs;
  if (first === undefined) throw new Error('The track has no rung.');
  const chosen = rungs.find((r) => r.name === choice);
  if (chosen !== undefined) return chosen;
  const aac = rungs.filter((r) => r.isAac).sort((a, b) => b.bps - a.bps);
  const lowest = aac.at(-1);
  if (lowest === undefined) return first;
  if (bitsPerSecond === null) return rungs.find((r) => r.name === now) ?? rungs.find((r) => r.isAac) ?? first;
  return aac.find((r) => r.bps * (r.name === now ? KEPT : TAKEN) <= bitsPerSecond) ?? lowest;
}

function attributes(told: string): Map<string, string> {
  const fields = told.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^,]*))/g);
  return new Map([...fields].map(([, name, quoted, plain]) => [name ?? '', quoted ?? plain ?? '']));
}

const beside = (uri: string, url: string): string => new URL(uri, url).href;
