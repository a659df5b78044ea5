import { describe, expect, it } from 'vitest';
import type { Track } from '../track';
import { BASE_SECONDS, endOf, placed, startOf, timeOf, trackAt, type Placed } from './timeline';

const track = (id: string, samples: number | null, rate: number | null = 44100) => ({ id, samples, rate }) as Track;

function queue(...tracks: Track[]): Placed[] {
  const all: Placed[] = [];
  for (const t of tracks) {
    const next = placed(t, all.at(-1));
    if (next !== null) all.push(next);
  }
  return all;
}

describe('the timeline', () => {
  it('places tracks by whole samples', () => {
    const all = queue(track('a', 110550), track('b', 330250), track('c', 110450));
    expect(all.map((p) => p.first)).toEqual([0, 110550, 440800]);
    expect(startOf(all[2] as Placed)).toBe(BASE_SECONDS + 440800 / 44100);
    expect(endOf(all[1] as Placed)).toBe(startOf(all[2] as Placed));
    expect(timeOf(all[1] as Placed, 1)).toBe(BASE_SECONDS + 110551 / 44100);
  });
  it('stays exact over a thousand joins', () => {
    const all = queue(...Array.from({ length: 1000 }, (_, i) => track(`${i}`, 9_999_991 + i)));
    const last = all.at(-1) as Placed;
    expect(last.first).toBe(all.slice(0, -1).reduce((n, p) => n + p.samples, 0));
    expect(Math.round((startOf(last) - BASE_SECONDS) * 44100)).toBe(last.first);
  });
  it('begins to count anew where the rate changes', () => {
    const all = queue(track('a', 44100), track('b', 48000, 48000), track('c', 24000, 48000));
    expect(all.map((p) => startOf(p) - BASE_SECONDS)).toEqual([0, 1, 2]);
    expect(all.map((p) => p.first)).toEqual([0, 0, 48000]);
  });
  it('finds the later track at a join', () => {
    const all = queue(track('a', 44100), track('b', 44100));
    expect([0, 0.999, 1, 1.5, 2].map((s) => trackAt(all, BASE_SECONDS + s)?.track.id)).toEqual(['a', 'a', 'b', 'b', undefined]);
  });
  it('places nothing of unknown length', () => {
    expect(placed(track('a', null), undefined)).toBeNull();
  });
});
