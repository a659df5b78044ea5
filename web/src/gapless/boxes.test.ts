import { describe, expect, it } from 'vitest';
import { fillLastPacket } from './boxes';

const words = (...all: number[]): number[] => all.flatMap((w) => [w >>> 24, (w >> 16) & 255, (w >> 8) & 255, w & 255]);
const box = (kind: string, body: number[]): number[] => [...words(body.length + 8), ...[...kind].map((c) => c.charCodeAt(0)), ...body];

/** A segment with the durations and sizes of its packets. */
function segment(flags: number, fields: number[], count: number): Uint8Array<ArrayBuffer> {
  const trun = box('trun', words(flags, count, 96, ...fields));
  const traf = box('traf', [...box('tfhd', words(0x20000, 1)), ...box('tfdt', words(0x1000000, 0, 9)), ...trun]);
  return new Uint8Array([...box('moof', [...box('mfhd', words(0, 1)), ...traf]), ...box('mdat', [1, 2, 3])]);
}

describe('the last packet', () => {
  it('gets its whole length, and nothing else changes', () => {
    const short = segment(0x301, [1024, 5, 1024, 6, 793, 7], 3);
    const whole = segment(0x301, [1024, 5, 1024, 6, 1024, 7], 3);
    expect(fillLastPacket(short, 1024)).toBe(true);
    expect(short).toEqual(whole);
    expect(fillLastPacket(short, 1024)).toBe(false);
  });
  it('is found behind flags of the first one', () => {
    const short = segment(0x305, [0x2000000, 1024, 5, 20, 6], 2);
    expect(fillLastPacket(short, 1024)).toBe(true);
    expect(short).toEqual(segment(0x305, [0x2000000, 1024, 5, 1024, 6], 2));
  });
  it('stays as it is where packets have no length of their own', () => {
    const plain = segment(0x201, [5, 6], 2);
    expect(fillLastPacket(plain, 1024)).toBe(false);
    expect(plain).toEqual(segment(0x201, [5, 6], 2));
  });
  it('isn’t looked for outside of the bytes', () => {
    const whole = segment(0x301, [1024, 5, 793, 6], 2);
    for (let length = 0; length < whole.length; length++) fillLastPacket(whole.slice(0, length), 1024);
    for (let at = 0; at < whole.length; at++) {
      const spoilt = whole.slice();
      spoilt[at] = 255;
      fillLastPacket(spoilt, 1024);
    }
  });
});
