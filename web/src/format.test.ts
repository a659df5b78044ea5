import { describe, expect, it } from 'vitest';
import { bytes, clock, left, percent, rungName, shortDigest, source, spokenClock, titleOf } from './format';

describe('bytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [18_420_000, '18.4 MB'],
    [99_960_000, '100 MB'],
    [999_600_000, '1.0 GB'],
    [-5, '0 B'],
  ])('%d is %s', (n, said) => expect(bytes(n)).toBe(said));
});

describe('clock', () => {
  it.each([
    [0, '0:00'],
    [12.9, '0:12'],
    [200, '3:20'],
    [3723, '1:02:03'],
    [Number.NaN, '0:00'],
    [Infinity, '0:00'],
  ])('%d is %s', (n, said) => expect(clock(n)).toBe(said));
  it('is said in words', () => {
    expect(spokenClock(61)).toBe('1 minute 1 second');
    expect(spokenClock(0.4)).toBe('0 seconds');
    expect(spokenClock(7200)).toBe('2 hours');
  });
});

describe('percent', () => {
  it('reaches 100 only when all is there', () => {
    expect(percent(999, 1000)).toBe(99);
    expect(percent(1000, 1000)).toBe(100);
    expect(percent(0, 0)).toBe(100);
  });
});

it('time left is coarse', () => {
  expect(left(0.2)).toBe('1 s left');
  expect(left(61)).toBe('2 min left');
  expect(left(3700)).toBe('1 h 2 min left');
  expect(left(Infinity)).toBe('');
});

it('a file name becomes a title', () => {
  expect(titleOf('01_Low_tide.flac')).toBe('01 Low tide');
  expect(titleOf('no extension')).toBe('no extension');
  expect(titleOf('.flac')).toBe('.flac');
});

it('a digest is cut in the middle', () => expect(shortDigest('a'.repeat(60) + 'beef')).toBe('aaaaaaaaaa…aaaabeef'));

it('a rung is named after the ladder, whatever was measured', () => {
  expect(rungName('fLaC', 900_000, 'flac')).toBe('Lossless FLAC');
  expect(rungName('mp4a.40.2', 171_000, 'aac-160k')).toBe('160 kbit/s');
  expect(rungName('mp4a.40.2', 171_000, undefined)).toBe('171 kbit/s');
});

it('a source is named shortly', () => {
  expect(source('pcm_s24le', 96_000)).toBe('PCM · 96 kHz');
  expect(source('flac', 44_100)).toBe('FLAC · 44.1 kHz');
  expect(source(null, null)).toBe('');
});
