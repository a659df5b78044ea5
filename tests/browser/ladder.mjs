// A ready-made HLS ladder for the mock, by the ffmpeg command: four rungs of one WAV, kept between runs.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { wav } from './sound.mjs';

export const RUNGS = [
  { name: '160', args: ['-c:a', 'aac', '-aac_coder', 'fast', '-b:a', '160k'], codecs: 'mp4a.40.2', bandwidth: 170000 },
  { name: '64', args: ['-c:a', 'aac', '-aac_coder', 'fast', '-b:a', '64k'], codecs: 'mp4a.40.2', bandwidth: 70000 },
  { name: '256', args: ['-c:a', 'aac', '-aac_coder', 'fast', '-b:a', '256k'], codecs: 'mp4a.40.2', bandwidth: 270000 },
  { name: 'flac', args: ['-c:a', 'flac', '-strict', '-2'], codecs: 'fLaC', bandwidth: 1411200 },
];

/** `{wav, folder}`; the folder holds one sub-folder per rung. */
export function ladder(seconds) {
  const folder = join(tmpdir(), `millrace-mock-ladder-${seconds}`);
  const body = wav(seconds);
  if (existsSync(folder)) return { wav: body, folder };
  const draft = `${folder}.${process.pid}`;
  mkdirSync(draft, { recursive: true });
  writeFileSync(join(draft, 'source.wav'), body);
  for (const rung of RUNGS) {
    const out = join(draft, rung.name);
    mkdirSync(out);
    const hls = ['-f', 'hls', '-hls_segment_type', 'fmp4', '-hls_time', '4', '-hls_playlist_type', 'vod', '-hls_segment_filename', '%d.m4s'];
    execFileSync('ffmpeg', ['-v', 'error', '-i', join(draft, 'source.wav'), ...rung.args, ...hls, 'vod.m3u8'], { cwd: out });
  }
  renameSync(draft, folder);
  return { wav: body, folder };
}

/** The first `segments` of a rung as a growing playlist, or the whole with an end. */
export function playlist(folder, rung, segments, isWhole) {
  const lines = readFileSync(join(folder, rung, 'vod.m3u8'), 'utf8').trim().split('\n');
  if (isWhole) return lines.join('\n');
  const out = [];
  let seen = 0;
  for (const line of lines) {
    if (line === '#EXT-X-ENDLIST' || (line.startsWith('#EXTINF') && seen >= segments)) break;
    out.push(line.replace('TYPE:VOD', 'TYPE:EVENT'));
    if (line.endsWith('.m4s')) seen += 1;
  }
  return [...out.slice(0, 3), '#EXT-X-START:TIME-OFFSET=0', ...out.slice(3)].join('\n');
}

/** Ends of the segments in seconds. */
export function ends(folder) {
  let at = 0;
  const lines = readFileSync(join(folder, '160', 'vod.m3u8'), 'utf8').split('\n');
  return lines.flatMap((l) => (l.startsWith('#EXTINF:') ? [(at += parseFloat(l.slice(8)))] : []));
}
