// The rungs of a track as an independent decoder hears them: fetched over HTTP, decoded by FFmpeg.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

const ROOM = { maxBuffer: 1 << 28 };

/** A rung's files as they are served: init and segments. */
export async function filesOf(page, title, rung) {
  const files = await page.evaluate(async ({ title, rung }) => {
    const { items } = await (await fetch('/api/v1/tracks?limit=100')).json();
    const { url } = await (await fetch(`/api/v1/tracks/${items.find((t) => t.title === title).id}/stream`)).json();
    const id = rung.includes('FLAC') ? 'flac' : `aac-${rung.split(' ')[0]}k`;
    const lines = (await (await fetch(url)).text()).split('\n');
    const list = new URL(lines[lines.findIndex((l) => l.includes(`STABLE-VARIANT-ID="${id}"`)) + 1], new URL(url, location.href));
    const names = [...(await (await fetch(list)).text()).matchAll(/URI="([^"]+)"|^(\d+\.m4s)$/gm)].map((m) => m[1] ?? m[2]);
    const read = async (name) => {
      const bytes = new Uint8Array(await (await fetch(new URL(name, list))).arrayBuffer());
      return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(''));
    };
    return Promise.all(names.map(read));
  }, { title, rung });
  return files.map((text) => Buffer.from(text, 'base64'));
}

/** The AAC packets of such files, priming and padding included, each behind an ADTS header. */
export function packetsOf(files) {
  const adts = ffmpeg(['-ignore_editlist', '1', '-i', 'pipe:0', '-c', 'copy', '-f', 'adts', 'pipe:1'], Buffer.concat(files));
  const packets = [];
  for (let at = 0; at + 7 <= adts.length; ) {
    const length = ((adts[at + 3] & 3) << 11) | (adts[at + 4] << 3) | (adts[at + 5] >> 5);
    packets.push(adts.subarray(at, at + length));
    at += length;
  }
  return packets;
}

/** What one decoder makes of these packets in a row: the first channel, 1024 samples for each. */
export function decodedPackets(packets) {
  return floats(ffmpeg(['-f', 'aac', '-i', 'pipe:0', '-map_channel', '0.0.0', '-f', 'f32le', 'pipe:1'], Buffer.concat(packets)));
}

function ffmpeg(args, input) {
  const { stdout, stderr, status } = spawnSync('ffmpeg', ['-v', 'error', ...args], { input, ...ROOM });
  assert.equal(status, 0, String(stderr));
  return stdout;
}

const floats = (bytes) => new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~3)));
