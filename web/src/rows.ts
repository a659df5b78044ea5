// The list and everything that can happen to it: one pure function from an event to the next list.
//
// Promises: `durable` never falls (an acknowledged byte stays acknowledged), `sent` never lies below it,
//           and no track is listed twice, whichever of its upload, its event and its page arrives first.

import type { Page, Phase, Row, Sending, Track } from './track';

export interface Rows {
  rows: Row[];
  nextCursor: string | null;
  /** The first page has arrived, so an empty list means that there is nothing. */
  isLoaded: boolean;
  /** Tracks whose row was taken away: late news of them is no news. */
  gone: ReadonlySet<string>;
}

export type Happened =
  | { what: 'chosen'; key: string; name: string; size: number; phase: Phase; trackId?: string | null; durable?: number }
  | { what: 'named'; key: string; trackId: string }
  | { what: 'progressed'; key: string; sent: number; speed: number | null }
  | { what: 'acknowledged'; key: string; offset: number }
  | { what: 'phase'; key: string; phase: Phase; error?: string | null }
  | { what: 'track'; track: Track }
  | { what: 'page'; page: Page }
  | { what: 'gone'; key: string };

export const NOTHING: Rows = { rows: [], nextCursor: null, isLoaded: false, gone: new Set() };

export function after(state: Rows, event: Happened): Rows {
  switch (event.what) {
    case 'chosen':
      return chosen(state, event);
    case 'named':
      return named(state, event.key, event.trackId);
    case 'progressed':
      return sending(state, event.key, (s) => ({ ...s, sent: clamp(event.sent, s.durable, s.size), speed: event.speed }));
    case 'acknowledged':
      return sending(state, event.key, (s) => acknowledged(s, event.offset));
    case 'phase':
      return sending(state, event.key, (s) => inPhase(s, event.phase, event.error ?? null));
    case 'track':
      return withTrack(state, event.track);
    case 'page':
      return { ...event.page.items.reduce(withTrack, state), nextCursor: event.page.next_cursor, isLoaded: true };
    case 'gone':
      return without(state, event.key);
  }
}

function chosen(state: Rows, e: Extract<Happened, { what: 'chosen' }>): Rows {
  const durable = e.durable ?? 0;
  const fresh: Sending = { name: e.name, size: e.size, phase: e.phase, sent: durable, durable, speed: null, error: null };
  const trackId = e.trackId ?? null;
  const at = state.rows.findIndex((r) => r.key === e.key || (trackId !== null && r.trackId === trackId));
  if (at < 0) return { ...state, rows: [{ key: e.key, trackId, track: null, sending: fresh }, ...state.rows] };
  return replaced(state, at, (r) => {
    const known = Math.max(durable, r.sending?.durable ?? 0, r.track?.upload?.offset ?? 0);
    return { ...r, key: e.key, trackId: trackId ?? r.trackId, sending: { ...fresh, durable: known, sent: known } };
  });
}

function without(state: Rows, key: string): Rows {
  const ids = state.rows.flatMap((r) => (r.key === key && r.trackId !== null ? [r.trackId] : []));
  return { ...state, rows: state.rows.filter((r) => r.key !== key), gone: new Set([...state.gone, ...ids]) };
}

function named(state: Rows, key: string, trackId: string): Rows {
  const twin = state.rows.find((r) => r.trackId === trackId && r.key !== key);
  const single = twin === undefined ? state : { ...state, rows: state.rows.filter((r) => r !== twin) };
  const at = single.rows.findIndex((r) => r.key === key);
  return at < 0 ? state : replaced(single, at, (r) => withOffset(renamed(r, trackId, twin?.track ?? null)));
}

/** Another track than before: the old upload is gone, and this one starts at its first byte. */
function renamed(row: Row, trackId: string, track: Track | null): Row {
  const isNew = row.trackId !== null && row.trackId !== trackId;
  const sending = isNew && row.sending !== null ? { ...row.sending, sent: 0, durable: 0 } : row.sending;
  return { ...row, trackId, track: track ?? (isNew ? null : row.track), sending };
}

function withTrack(state: Rows, track: Track): Rows {
  const at = state.rows.findIndex((r) => r.trackId === track.id);
  if (at >= 0) {
    if (track.state === 'taken_down') return { ...state, rows: state.rows.filter((_, i) => i !== at) };
    return replaced(state, at, (r) => withOffset({ ...r, track }));
  }
  if (track.state === 'taken_down' || state.gone.has(track.id)) return state;
  const row: Row = { key: `track-${track.id}`, trackId: track.id, track, sending: null };
  const older = state.rows.findIndex((r) => r.track !== null && r.track.created_at < track.created_at);
  const rows = [...state.rows];
  rows.splice(older < 0 ? rows.length : older, 0, row);
  return { ...state, rows };
}

/** The track's own word about its upload counts as an acknowledgement. */
function withOffset(row: Row): Row {
  const upload = row.track?.upload;
  if (row.sending === null || row.track === null) return row;
  if (row.track.stored) return { ...row, sending: acknowledged(row.sending, row.sending.size) };
  return upload === null || upload === undefined ? row : { ...row, sending: acknowledged(row.sending, upload.offset) };
}

function acknowledged(s: Sending, offset: number): Sending {
  const durable = Math.min(s.size, Math.max(s.durable, offset));
  return durable === s.durable ? s : { ...s, durable, sent: Math.max(s.sent, durable) };
}

/** Out of `sending`, what was under way and not acknowledged counts as not sent. */
function inPhase(s: Sending, phase: Phase, error: string | null): Sending {
  if (phase === 'sent') return { ...s, phase, error: null, speed: null, sent: s.size, durable: s.size };
  if (phase === 'sending') return { ...s, phase, error: null };
  return { ...s, phase, error, speed: null, sent: s.durable };
}

function sending(state: Rows, key: string, change: (s: Sending) => Sending): Rows {
  const at = state.rows.findIndex((r) => r.key === key && r.sending !== null);
  return at < 0 ? state : replaced(state, at, (r) => (r.sending === null ? r : { ...r, sending: change(r.sending) }));
}

function replaced(state: Rows, at: number, change: (row: Row) => Row): Rows {
  const rows = state.rows.map((r, i) => (i === at ? change(r) : r));
  return { ...state, rows };
}

const clamp = (n: number, low: number, high: number): number => Math.min(high, Math.max(low, n));
