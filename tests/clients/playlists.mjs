// Reads `{texts, rungs}` and tells how hls-parser and m3u8-parser read those playlists, and mp4box those rungs (base64).
//
// Absent: any leniency; what a parser leaves out is null.

import { readFileSync } from 'node:fs';
import HLS from 'hls-parser';
import { Parser } from 'm3u8-parser';
import { createFile } from 'mp4box';

const micros = (seconds) => Math.round(seconds * 1e6);

function byHlsParser(text) {
  const read = HLS.parse(text);
  const { version, independentSegments: independent } = read;
  if (read.isMasterPlaylist) {
    return { version, independent, variants: read.variants.map((v) => [v.uri, v.bandwidth, v.averageBandwidth, v.codecs]) };
  }
  const segments = read.segments.map((s) => [s.uri, micros(s.duration)]);
  return { version, independent, target: read.targetDuration, type: read.playlistType, ended: read.endlist, init: read.segments[0].map.uri, segments };
}

function byM3u8Parser(text) {
  const parser = new Parser();
  const complaints = [];
  for (const kind of ['warn', 'error']) parser.on(kind, ({ message }) => complaints.push(message));
  parser.push(text);
  parser.end();
  if (complaints.length > 0) throw new Error(`m3u8-parser: ${complaints.join(', ')}`);
  const { version, independentSegments: independent, playlists, ...read } = parser.manifest;
  if (playlists !== undefined) {
    return { version, independent, variants: playlists.map(({ uri, attributes: a }) => [uri, a.BANDWIDTH, Number(a['AVERAGE-BANDWIDTH']), a.CODECS]) };
  }
  const segments = read.segments.map((s) => [s.uri, micros(s.duration)]);
  return { version, independent, target: read.targetDuration, type: read.playlistType, ended: read.endList === true, init: read.segments[0].map.uri, segments };
}

function byMp4box(base64) {
  const { buffer } = Uint8Array.from(Buffer.from(base64, 'base64'));
  buffer.fileStart = 0;
  const file = createFile();
  file.onError = (module, message) => {
    throw new Error(`mp4box: ${module} ${message}`);
  };
  file.appendBuffer(buffer);
  file.flush();
  const [track, ...more] = file.getInfo().tracks;
  if (more.length > 0) throw new Error('one track');
  const samples = file.getTrackSamplesInfo(track.id);
  const isWithoutGaps = samples.every((s, i) => i === 0 || s.dts === samples[i - 1].dts + samples[i - 1].duration);
  return {
    codec: track.codec,
    rate: track.audio.sample_rate,
    channels: track.audio.channel_count,
    from: track.edits?.[0]?.media_time ?? 0,
    until: samples.reduce((n, s) => n + s.duration, 0),
    isWithoutGaps,
  };
}

const { texts, rungs } = JSON.parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify({ 'hls-parser': texts.map(byHlsParser), 'm3u8-parser': texts.map(byM3u8Parser), mp4box: rungs.map(byMp4box) }));
