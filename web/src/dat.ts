// Waveform peaks: audiowaveform's .dat, version 2, as `GET /api/v1/tracks/{id}/waveform` answers it.
//
// Little-endian: i32 version, u32 flags (bit 0: 8-bit), i32 sample rate, i32 samples per pixel, u32 length,
// i32 channels, then `length` × `channels` pairs of minimum and maximum.
// Promise: a body that is cut short draws what is whole; one that isn't this format is null, never an exception.

const HEADER_BYTES = 24;
/** More channels than any source we take; a larger number is garbage, and must not size a loop. */
const CHANNELS_MAX = 64;

export interface Peaks {
  /** Pixels per second of sound. */
  perSecond: number;
  /** How much sound is covered. */
  seconds: number;
  /** The louder side of each pixel over all channels, from 0 to 1. */
  heights: Float32Array;
}

export function parseDat(body: ArrayBuffer): Peaks | null {
  if (body.byteLength < HEADER_BYTES) return null;
  const view = new DataView(body);
  const version = view.getInt32(0, true);
  const is8Bit = (view.getUint32(4, true) & 1) === 1;
  const rate = view.getInt32(8, true);
  const perPixel = view.getInt32(12, true);
  const told = view.getUint32(16, true);
  const channels = view.getInt32(20, true);
  if (version !== 2 || rate <= 0 || perPixel <= 0 || channels <= 0 || channels > CHANNELS_MAX) return null;

  const pixelBytes = channels * 2 * (is8Bit ? 1 : 2);
  const whole = Math.floor((body.byteLength - HEADER_BYTES) / pixelBytes);
  const length = Math.min(told, whole);
  const heights = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    let peak = 0;
    for (let k = 0; k < channels * 2; k++) {
      const at = HEADER_BYTES + i * pixelBytes + k * (is8Bit ? 1 : 2);
      const value = is8Bit ? view.getInt8(at) / 128 : view.getInt16(at, true) / 32768;
      peak = Math.max(peak, Math.abs(value));
    }
    heights[i] = peak;
  }
  const perSecond = rate / perPixel;
  return { perSecond, seconds: length / perSecond, heights };
}

/** The loudest of each of `columns` equal slices of `total` seconds; slices beyond the known peaks are -1. */
export function columnsOf(peaks: Peaks, columns: number, total: number): Float32Array {
  const out = new Float32Array(Math.max(0, columns)).fill(-1);
  const perColumn = (total * peaks.perSecond) / columns;
  if (!(perColumn > 0)) return out;
  for (let c = 0; c < out.length; c++) {
    const from = Math.floor(c * perColumn);
    const to = Math.min(peaks.heights.length, Math.max(from + 1, Math.floor((c + 1) * perColumn)));
    for (let i = from; i < to; i++) out[c] = Math.max(out[c] ?? -1, peaks.heights[i] ?? 0);
  }
  return out;
}
