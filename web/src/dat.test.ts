import { describe, expect, it } from 'vitest';
import { columnsOf, parseDat } from './dat';

/** A .dat of the pairs given, one channel unless told. */
function dat(pairs: number[], { bits = 8, channels = 1, version = 2, length = -1 } = {}): ArrayBuffer {
  const wide = bits === 8 ? 1 : 2;
  const body = new ArrayBuffer(24 + pairs.length * wide);
  const view = new DataView(body);
  [version, bits === 8 ? 1 : 0, 44_100, 441, length < 0 ? pairs.length / 2 / channels : length, channels].forEach((n, i) => view.setInt32(i * 4, n, true));
  pairs.forEach((p, i) => (bits === 8 ? view.setInt8(24 + i, p) : view.setInt16(24 + i * 2, p, true)));
  return body;
}

describe('parseDat', () => {
  it('reads 8 bit pairs as heights', () => {
    const peaks = parseDat(dat([-64, 32, -1, 127]));
    expect(peaks?.perSecond).toBe(100);
    expect(peaks?.seconds).toBe(0.02);
    expect([...(peaks?.heights ?? [])]).toEqual([0.5, 127 / 128].map(Math.fround));
  });
  it('reads 16 bit and takes the louder channel', () => {
    const peaks = parseDat(dat([-100, 100, -16384, 8192], { bits: 16, channels: 2 }));
    expect([...(peaks?.heights ?? [])]).toEqual([0.5]);
  });
  it('draws what is whole of a body that was cut short', () => {
    expect(parseDat(dat([-64, 64, -64, 64], { length: 9 }))?.heights.length).toBe(2);
  });
  it.each([
    ['nothing', new ArrayBuffer(0)],
    ['a header cut short', dat([]).slice(0, 23)],
    ['version 1', dat([0, 0], { version: 1 })],
    ['no channel', dat([0, 0], { channels: 0, length: 1 })],
    ['absurd channels', dat([0, 0], { channels: 1 << 30, length: 1 })],
  ])('refuses %s', (_, body) => expect(parseDat(body)).toBeNull());
});

describe('columnsOf', () => {
  const peaks = { perSecond: 10, seconds: 1, heights: new Float32Array([0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.1, 0.1, 0.8, 0.1]) };
  it('takes the loudest of each slice', () => {
    expect([...columnsOf(peaks, 5, 1)]).toEqual([0.9, 0.3, 0.5, 0.1, 0.8].map(Math.fround));
  });
  it('leaves what hasn’t arrived empty', () => {
    expect([...columnsOf(peaks, 4, 2)]).toEqual([0.9, 0.8, -1, -1].map(Math.fround));
  });
  it('stretches a short sound over many columns', () => {
    expect(columnsOf(peaks, 20, 1).every((h) => h > 0)).toBe(true);
  });
  it('draws nothing of a length that isn’t known', () => {
    expect([...columnsOf(peaks, 2, 0)]).toEqual([-1, -1]);
    expect([...columnsOf(peaks, 0, 1)]).toEqual([]);
  });
});
