// What the server says about a track, and what this page knows about sending it. No behaviour.

export type TrackState = 'ingesting' | 'playable' | 'ready' | 'failed' | 'taken_down';

/** A track as `GET /api/v1/tracks/{id}` and the event stream tell it. */
export interface Track {
  id: string;
  state: TrackState;
  title: string;
  filename: string | null;
  duration_ms: number | null;
  samples: number | null;
  rate: number | null;
  start_pad: number | null;
  segments_ready: number;
  size: number | null;
  sha256: string | null;
  loudness: { integrated: number | null; range: number | null; true_peak: number | null } | null;
  error: { code: string; detail: string | null } | null;
  artwork: { width: number; height: number; url: string }[] | null;
  codec: string | null;
  lossless: boolean | null;
  stored: boolean;
  upload: { offset: number; length: number | null; state: string } | null;
  created_at: string;
}

/** One page of the library. */
export interface Page {
  items: Track[];
  next_cursor: string | null;
}

/**
 * Where a sending stands. `queued` waits for its turn; `needs_file` survived a reload and lacks the file;
 * `stopped` met an error that retrying alone didn't cure.
 */
export type Phase = 'queued' | 'sending' | 'paused' | 'needs_file' | 'stopped' | 'sent';

/** One file on its way, as this browser sees it. */
export interface Sending {
  name: string;
  size: number;
  phase: Phase;
  /** Bytes handed to the network. Falls back to `durable` when a connection is lost. */
  sent: number;
  /** Bytes that the server has acknowledged: safe whatever happens next. */
  durable: number;
  /** Smoothed, in bytes per second; null before two measurements. */
  speed: number | null;
  error: string | null;
}

/** One line of the list: a track, a sending, or both once the server has named the track. */
export interface Row {
  key: string;
  trackId: string | null;
  track: Track | null;
  sending: Sending | null;
}

export const plays = (t: Track | null): boolean =>
  t !== null && (t.state === 'playable' || t.state === 'ready') && (t.segments_ready > 0 || t.state === 'ready');

/** Nothing about the track will change by itself any more. A failed one still may, while its bytes come in. */
export function isSettled(t: Track): boolean {
  if (t.state !== 'failed') return t.state === 'ready' || t.state === 'taken_down';
  return t.stored || t.upload === null || !['opened', 'receiving', 'sealing'].includes(t.upload.state);
}
