// Where the tracks of a queue lie on one timeline. Pure.
//
// Promise: a track's place is a whole number of samples from the last change of rate; nothing is summed from rounded
//          durations, so the hundredth join is as exact as the first.

import type { Track } from '../track';

/**
 * Where the first track starts. Not at 0: there Chromium takes what is buffered up to a second later for the start, and
 * whoever goes back from the middle of a track to its beginning would hear nothing until then.
 */
export const BASE_SECONDS = 10;

/** One track on the timeline; times in seconds from its start. */
export interface Placed {
  readonly track: Track;
  readonly samples: number;
  readonly rate: number;
  /** Where the tracks of this rate begin, and how many samples of theirs come before this one. */
  readonly base: number;
  readonly first: number;
}

/** The track after `last`, or the first one. Null for a track whose length isn't known. */
export function placed(track: Track, last: Placed | undefined): Placed | null {
  const { samples, rate } = track;
  if (samples === null || rate === null || samples <= 0 || rate <= 0) return null;
  if (last === undefined) return { track, samples, rate, base: BASE_SECONDS, first: 0 };
  const isSameRate = last.rate === rate;
  return { track, samples, rate, base: isSameRate ? last.base : endOf(last), first: isSameRate ? last.first + last.samples : 0 };
}

export const startOf = (p: Placed): number => p.base + p.first / p.rate;
export const endOf = (p: Placed): number => p.base + (p.first + p.samples) / p.rate;
/** The instant of a sample of the track. */
export const timeOf = (p: Placed, sample: number): number => p.base + (p.first + sample) / p.rate;

/** The track that sounds at `seconds`; at a join, the later one. */
export function trackAt(all: readonly Placed[], seconds: number): Placed | undefined {
  return all.find((p) => seconds < endOf(p));
}
