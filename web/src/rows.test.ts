import { describe, expect, it } from 'vitest';
import { after, NOTHING, type Happened, type Rows } from './rows';
import type { Track } from './track';

const track = (id: string, more: Partial<Track> = {}): Track => ({
  id, state: 'ingesting', title: id, filename: null, duration_ms: null, samples: null, rate: null, start_pad: null, segments_ready: 0, size: null, sha256: null,
  loudness: null, error: null, artwork: null, codec: null, lossless: null, stored: false, upload: { offset: 0, length: 100, state: 'receiving' }, created_at: '2026-01-01T00:00:00Z', ...more,
});
const all = (...events: Happened[]): Rows => events.reduce(after, NOTHING);
const chosen: Happened = { what: 'chosen', key: 'k', name: 'a.wav', size: 100, phase: 'sending' };
const sending = (s: Rows) => s.rows[0]?.sending;

describe('what is durable', () => {
  it('never falls, whatever order the news comes in', () => {
    const s = all(chosen, { what: 'acknowledged', key: 'k', offset: 60 }, { what: 'acknowledged', key: 'k', offset: 40 });
    expect(sending(s)?.durable).toBe(60);
  });
  it('comes from the track’s own word as well', () => {
    const s = all(chosen, { what: 'named', key: 'k', trackId: 't' }, { what: 'track', track: track('t', { upload: { offset: 30, length: 100, state: 'receiving' } }) });
    expect(sending(s)).toMatchObject({ durable: 30, sent: 30 });
  });
  it('never exceeds the file', () => {
    expect(sending(all(chosen, { what: 'acknowledged', key: 'k', offset: 1e9 }))?.durable).toBe(100);
  });
  it('is all of it once the track is stored', () => {
    const s = all(chosen, { what: 'named', key: 'k', trackId: 't' }, { what: 'track', track: track('t', { stored: true, upload: null }) });
    expect(sending(s)?.durable).toBe(100);
  });
  it('starts again when the server has begun another upload', () => {
    const first = [chosen, { what: 'named', key: 'k', trackId: 't' }, { what: 'acknowledged', key: 'k', offset: 50 }] as const;
    expect(sending(all(...first, { what: 'named', key: 'k', trackId: 'other' }))).toMatchObject({ durable: 0, sent: 0 });
    expect(sending(all(...first, { what: 'named', key: 'k', trackId: 't' }))?.durable).toBe(50);
  });
});

describe('what is sent', () => {
  it('falls back to what is durable when the sending stops', () => {
    for (const phase of ['paused', 'stopped', 'needs_file'] as const) {
      const s = all(chosen, { what: 'progressed', key: 'k', sent: 80, speed: 9 }, { what: 'acknowledged', key: 'k', offset: 30 }, { what: 'phase', key: 'k', phase });
      expect(sending(s)).toMatchObject({ sent: 30, durable: 30, speed: null });
    }
  });
  it('never lies below what is durable', () => {
    const s = all(chosen, { what: 'acknowledged', key: 'k', offset: 70 }, { what: 'progressed', key: 'k', sent: 10, speed: null });
    expect(sending(s)?.sent).toBe(70);
  });
});

describe('one track, one row', () => {
  const news: Happened[] = [
    { what: 'named', key: 'k', trackId: 't' },
    { what: 'track', track: track('t') },
    { what: 'page', page: { items: [track('t')], next_cursor: null } },
  ];
  it('whichever of name, event and page comes first', () => {
    for (const order of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
      const s = all(chosen, ...order.map((i) => news[i] as Happened));
      expect(s.rows).toHaveLength(1);
      expect(s.rows[0]).toMatchObject({ key: 'k', trackId: 't', track: { id: 't' }, sending: { name: 'a.wav' } });
    }
  });
  it('also for an upload that survived a reload', () => {
    const page: Happened = { what: 'page', page: { items: [track('t', { upload: { offset: 40, length: 100, state: 'receiving' } })], next_cursor: null } };
    const left: Happened = { what: 'chosen', key: 'k', name: 'a.wav', size: 100, phase: 'needs_file', trackId: 't' };
    for (const events of [[page, left], [left, page]]) {
      const s = all(...events);
      expect(s.rows).toHaveLength(1);
      expect(sending(s)).toMatchObject({ durable: 40, phase: 'needs_file' });
    }
  });
});

describe('the list', () => {
  it('is newest first, pages and late news alike', () => {
    const at = (id: string, day: number) => track(id, { created_at: `2026-01-0${day}T00:00:00Z` });
    const s = all({ what: 'page', page: { items: [at('c', 5), at('a', 1)], next_cursor: 'x' } }, { what: 'track', track: at('b', 3) });
    expect(s.rows.map((r) => r.trackId)).toEqual(['c', 'b', 'a']);
    expect(s.nextCursor).toBe('x');
  });
  it('drops what was taken down', () => {
    expect(all({ what: 'track', track: track('t') }, { what: 'track', track: track('t', { state: 'taken_down' }) }).rows).toEqual([]);
    expect(all({ what: 'track', track: track('t', { state: 'taken_down' }) }).rows).toEqual([]);
  });
  it('doesn’t bring back what was cancelled', () => {
    const s = all(chosen, { what: 'named', key: 'k', trackId: 't' }, { what: 'gone', key: 'k' }, { what: 'track', track: track('t') });
    expect(s.rows).toEqual([]);
  });
  it('keeps the rows of others as they are', () => {
    const s = all({ what: 'track', track: track('a') }, { what: 'track', track: track('b') });
    const next = after(s, { what: 'track', track: track('b', { title: 'B' }) });
    expect(next.rows.find((r) => r.trackId === 'a')).toBe(s.rows.find((r) => r.trackId === 'a'));
  });
});
