import { expect, it } from 'vitest';
import { canRetry, failure, standing, wholeLength } from './standing';
import { isSettled, type Row, type Sending, type Track } from './track';

const sending = (more: Partial<Sending>): Sending => ({ name: 'a.wav', size: 1000, phase: 'sending', sent: 400, durable: 400, speed: null, error: null, ...more });
const track = (more: Partial<Track>): Track => ({
  id: 't', state: 'ingesting', title: 't', filename: null, duration_ms: null, samples: null, rate: null, start_pad: null, segments_ready: 0, size: null, sha256: null,
  loudness: null, error: null, artwork: null, codec: null, lossless: null, stored: false, upload: null, created_at: '', ...more,
});
const row = (t: Partial<Track> | null, s: Partial<Sending> | null): Row => ({
  key: 'k', trackId: 't', track: t === null ? null : track(t), sending: s === null ? null : sending(s),
});

it.each([
  [row(null, { phase: 'queued' }), 'Waiting for its turn'],
  [row({ state: 'playable' }, {}), 'Uploading, plays already'],
  [row({ state: 'playable' }, { phase: 'paused' }), 'Paused at 40 %'],
  [row(null, { phase: 'needs_file' }), 'Unfinished at 40 %'],
  [row({}, { phase: 'stopped' }), 'Stopped at 40 %'],
  [row({ state: 'playable' }, { phase: 'sent' }), 'Checking every byte'],
  [row({ state: 'playable', stored: true }, { phase: 'sent' }), 'Encoding, plays already'],
  [row({ state: 'ready', stored: true }, null), 'Verified'],
  [row({ state: 'failed' }, {}), 'Failed'],
  [row({ upload: { offset: 5, length: 10, state: 'receiving' } }, null), 'Arriving 50 %'],
])('%#: a row says where it stands', (r, text) => expect(standing(r).text).toBe(text));

it('a retry is offered where it may end differently', () => {
  const failed = (code: string, stored = true) => canRetry(track({ state: 'failed', stored, error: { code, detail: null } }));
  expect(['worker_crashed', 'worker_hung', 'stuck', 'new_code'].map((code) => failed(code))).toEqual([true, true, true, true]);
  expect(['unsupported_media', 'corrupt_media', 'too_long'].map((code) => failed(code))).toEqual([false, false, false]);
  expect([failed('worker_crashed', false), canRetry(track({ state: 'ready', stored: true }))]).toEqual([false, false]);
});

it('a failure is a sentence', () => {
  expect(failure({ code: 'unsupported_media', detail: 'this is plain text, not sound' })).toBe('This is plain text, not sound.');
  expect(failure({ code: 'empty_media', detail: null })).toBe('The file is empty.');
  expect(failure({ code: 'new_code', detail: null })).toBe('New_code.');
  expect(failure(null)).toBe('No reason was given.');
});

it('the whole length is judged by what the bytes have given, and doesn’t flicker', () => {
  expect(wholeLength(row({}, {}), 40, 0)).toBe(100);
  expect(wholeLength(row({}, {}), 41, 100)).toBe(100);
  expect(wholeLength(row({}, {}), 60, 100)).toBe(150);
  expect(wholeLength(row({ duration_ms: 90_000 }, null), 40, 0)).toBe(90);
  expect(wholeLength(row({ state: 'ready', duration_ms: 90_000 }, {}), 95, 200)).toBe(90);
});

it('a failed track is watched until its bytes have come in, so that Retry appears', () => {
  const failed = (more: Partial<Track>) => isSettled(track({ state: 'failed', ...more }));
  expect(failed({ upload: { offset: 5, length: 10, state: 'receiving' } })).toBe(false);
  expect(failed({ upload: { offset: 5, length: 10, state: 'expired' } })).toBe(true);
  expect(failed({ stored: true })).toBe(true);
});
