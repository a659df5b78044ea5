// What plays after a track: the next one of the list that is ready. Pure.

import type { Row, Track } from './track';

/** The ready track that is `step` places on in the list's order; those in `skip` don't count. */
export function neighbour(rows: readonly Row[], id: string | null, step: 1 | -1, skip: ReadonlySet<string> = new Set()): Track | null {
  const here = rows.findIndex((r) => r.trackId === id);
  if (id === null || here < 0) return null;
  for (let i = here + step; i >= 0 && i < rows.length; i += step) {
    const track = rows[i]?.track;
    if (track?.state === 'ready' && !skip.has(track.id)) return track;
  }
  return null;
}
