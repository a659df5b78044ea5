// How fast bytes leave, from (time, bytes) pairs: smoothed over a window, so that a number can be read.

/** Long enough to be calm, short enough to notice a stall. */
const WINDOW_MS = 4000;

export interface Speedometer {
  /** Notes that `bytes` had been sent at `now`; answers bytes per second, null before it can tell. */
  note(now: number, bytes: number): number | null;
}

export function speedometer(): Speedometer {
  let seen: { at: number; bytes: number }[] = [];
  return {
    note(now, bytes) {
      const last = seen[seen.length - 1];
      if (last !== undefined && (bytes < last.bytes || now - last.at > WINDOW_MS)) seen = [];
      seen.push({ at: now, bytes });
      while (seen.length > 2 && now - (seen[0]?.at ?? now) > WINDOW_MS) seen.shift();
      const first = seen[0];
      if (first === undefined || now - first.at < 300) return null;
      return ((bytes - first.bytes) / (now - first.at)) * 1000;
    },
  };
}
