// Numbers as people read them. Pure; digits are grouped the same in every locale so that tests and eyes agree.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** Bytes in powers of 1000, as file managers and line speeds count: three digits at most. */
export function bytes(n: number): string {
  let value = Math.max(0, n);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Seconds as a player shows them: `0:07`, `3:20`, `1:02:03`. */
export function clock(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '0:00';
  const all = Math.floor(seconds);
  const s = String(all % 60).padStart(2, '0');
  const m = Math.floor(all / 60) % 60;
  const h = Math.floor(all / 3600);
  return h > 0 ? `${h}:${String(m).padStart(2, '0')}:${s}` : `${m}:${s}`;
}

/** The same for ears: `3 minutes 20 seconds`. */
export function spokenClock(seconds: number): string {
  const all = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const part = (n: number, word: string) => (n === 0 ? '' : `${n} ${word}${n === 1 ? '' : 's'}`);
  const said = [part(Math.floor(all / 3600), 'hour'), part(Math.floor(all / 60) % 60, 'minute'), part(all % 60, 'second')];
  return said.filter(Boolean).join(' ') || '0 seconds';
}

/** How long is left, coarse enough not to flicker. */
export function left(seconds: number): string {
  if (!Number.isFinite(seconds)) return '';
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s left`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min left`;
  return `${Math.floor(seconds / 3600)} h ${Math.ceil((seconds % 3600) / 60)} min left`;
}

/** Whole percent, rounded down: 100 means all of it. */
export function percent(part: number, whole: number): number {
  if (whole <= 0) return 100;
  return Math.max(0, Math.min(100, Math.floor((part / whole) * 100)));
}

/** A file's name as a title, until the server has read the tags. */
export function titleOf(filename: string): string {
  const bare = filename.replace(/\.[A-Za-z0-9]{1,5}$/, '').replace(/_/g, ' ').trim();
  return bare === '' ? filename : bare;
}

/** First and last digits of a digest, enough to compare by eye. */
export function shortDigest(hex: string): string {
  return hex.length <= 20 ? hex : `${hex.slice(0, 10)}…${hex.slice(-8)}`;
}

/** A rung by what a listener cares about. Its stable id names the ladder's own rate; a measured one would drift. */
export function rungName(codec: string | undefined, bitsPerSecond: number, id: string | undefined): string {
  if (codec !== undefined && /^flac/i.test(codec)) return 'Lossless FLAC';
  const named = /^[a-z]+-(\d{2,3})k$/.exec(id ?? '')?.[1];
  return `${named ?? Math.round(bitsPerSecond / 1000)} kbit/s`;
}

/** What the source is, in three words: `FLAC · 44.1 kHz`. */
export function source(codec: string | null, rate: number | null): string {
  const name = codec === null ? null : /^pcm/i.test(codec) ? 'PCM' : codec.toUpperCase();
  const kilo = rate === null ? null : `${(rate / 1000).toFixed(rate % 1000 === 0 ? 0 : 1)} kHz`;
  return [name, kilo].filter((s) => s !== null).join(' · ');
}
