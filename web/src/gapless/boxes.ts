// What a player must know of fragmented MP4: where the last sample's duration stands. Pure.
//
// ISO/IEC 14496-12: moof ─ traf ─ tfhd (8.8.7), trun (8.8.8). Of our own segments only: one traf, one trun.

const SAMPLE_FIELDS = [0x100, 0x200, 0x400, 0x800] as const; // duration, size, flags, composition offset
const DURATION = 0x100;
const DATA_OFFSET = 0x1;
const FIRST_FLAGS = 0x4;

/**
 * Gives the segment's last packet `samples`, in place. A track's last packet is told shorter, so that players end exactly;
 * a decoder makes all of its samples none the less, and what is hidden would stay before the next track. The append
 * window cuts there instead, and it cuts what it is told of. Says whether there was something to change.
 */
export function fillLastPacket(segment: Uint8Array<ArrayBuffer>, samples: number): boolean {
  const view = new DataView(segment.buffer, segment.byteOffset, segment.byteLength);
  const trun = find(view, ['moof', 'traf', 'trun']);
  if (trun === null || trun.end - trun.at < 8) return false;
  const flags = view.getUint32(trun.at) & 0xffffff;
  const count = view.getUint32(trun.at + 4);
  // Without a duration of its own a packet has the rung's, which is whole.
  if ((flags & DURATION) === 0 || count === 0) return false;
  const first = trun.at + 8 + (flags & DATA_OFFSET ? 4 : 0) + (flags & FIRST_FLAGS ? 4 : 0);
  const stride = 4 * SAMPLE_FIELDS.filter((field) => flags & field).length;
  const last = first + stride * (count - 1);
  if (last + stride > trun.end || view.getUint32(last) === samples) return false;
  view.setUint32(last, samples);
  return true;
}

interface Span {
  at: number;
  end: number;
}

/** The body of the first box along `path`. */
function find(view: DataView, path: readonly string[]): Span | null {
  let within: Span = { at: 0, end: view.byteLength };
  for (const kind of path) {
    const found = child(view, within, kind);
    if (found === null) return null;
    within = found;
  }
  return within;
}

function child(view: DataView, { at, end }: Span, kind: string): Span | null {
  while (at + 8 <= end) {
    const size = view.getUint32(at);
    if (size < 8 || at + size > end) return null;
    if (kindAt(view, at + 4) === kind) return { at: at + 8, end: at + size };
    at += size;
  }
  return null;
}

const kindAt = (view: DataView, at: number): string => String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
