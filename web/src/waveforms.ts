// The peaks of each track that is on the screen, fetched again while it grows.

import { parseDat, type Peaks } from './dat';
import { readBytes } from './http';
import { storeOf } from './store';
import type { Track } from './track';

/** Between two fetches of one growing waveform. */
const GROW_MS = 2000;
/** A long track's peaks are large: they may be fetched again only after this much time per kilobyte. */
const GROW_MS_PER_KB = 20;

export type Waveforms = ReadonlyMap<string, Peaks>;

export const waveforms = storeOf<Waveforms>(new Map());

interface Known {
  /** What the last fetch was for; the same again needs no fetch. */
  mark: string;
  notBefore: number;
  timer: ReturnType<typeof setTimeout> | null;
  busy: boolean;
}

const known = new Map<string, Known>();
let newest = new Map<string, Track>();

/** Call it whenever a visible track changed. Cheap when nothing new can be drawn. */
export function wantWaveform(track: Track): void {
  if (track.segments_ready === 0 && track.state !== 'ready') return;
  newest.set(track.id, track);
  const k = known.get(track.id) ?? { mark: '', notBefore: 0, timer: null, busy: false };
  known.set(track.id, k);
  if (k.mark === markOf(track) || k.busy || k.timer !== null) return;
  k.timer = setTimeout(() => void fetchPeaks(track.id, k), Math.max(0, k.notBefore - Date.now()));
}

async function fetchPeaks(id: string, k: Known): Promise<void> {
  k.timer = null;
  k.busy = true;
  const track = newest.get(id);
  if (track === undefined) return;
  try {
    const body = await readBytes(`/api/v1/tracks/${encodeURIComponent(id)}/waveform`);
    const peaks = parseDat(body);
    if (peaks !== null) waveforms.write(new Map(waveforms.read()).set(id, peaks));
    k.mark = markOf(track);
    k.notBefore = Date.now() + Math.max(GROW_MS, (body.byteLength / 1000) * GROW_MS_PER_KB);
  } catch {
    // A waveform is decoration: without it the slider still seeks. Asked again when the track next changes.
    k.notBefore = Date.now() + GROW_MS;
  }
  k.busy = false;
  const now = newest.get(id);
  if (now !== undefined && markOf(now) !== markOf(track)) wantWaveform(now);
}

const markOf = (t: Track): string => `${t.segments_ready}/${t.state === 'ready'}`;
