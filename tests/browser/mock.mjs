// A stand-in for the server, for work on the page: enough of tus, tracks, events, waveform and HLS.
// It keeps nothing and checks little; never shipped, never a proof of the server.
//
// node mock.mjs [--port 8090] [--seconds 360] [--library 3]

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ends, ladder, playlist, RUNGS } from './ladder.mjs';
import { peaks } from './sound.mjs';

const DIST = new URL('../../web/dist/', import.meta.url);
/** Bytes become durable in steps, as parts do. */
const STEP = 1024 * 1024;
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const TYPES = { svg: 'image/svg+xml', js: 'text/javascript', css: 'text/css', m3u8: 'application/vnd.apple.mpegurl', mp4: 'audio/mp4', m4s: 'audio/mp4' };

export async function mock({ port = 0, seconds = 360, library = 0 } = {}) {
  const made = ladder(seconds);
  const state = { tracks: new Map(), uploads: new Map(), made, ends: ends(made.folder), seconds, listeners: new Set() };
  for (let i = 0; i < library; i++) seed(state, i);
  const server = http.createServer((req, res) => {
    route(state, req, res).catch((error) => {
      if (!res.headersSent) problem(res, 500, 'mock', String(error));
      else res.destroy();
    });
  });
  server.requestTimeout = 0;
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  return { port: server.address().port, close: () => (server.closeAllConnections(), server.close()) };
}

async function route(state, req, res) {
  const url = new URL(req.url, 'http://mock');
  const path = url.pathname;
  const track = path.match(/^\/api\/v1\/tracks\/([^/]+)(\/\w+)?$/);
  if (path === '/') return shell(res);
  if (path.startsWith('/assets/')) return file(res, join(DIST.pathname, path.slice(8)));
  if (path === '/files' || path.startsWith('/files/')) return files(state, req, res, path);
  if (path === '/api/v1/tracks') return json(res, { items: list(state), next_cursor: null });
  if (path.startsWith('/media/')) return media(state, res, path.split('/').slice(2));
  if (track === null || !state.tracks.has(track[1])) return problem(res, 404, 'not_found', 'No such thing.');
  const found = state.tracks.get(track[1]);
  switch (track[2]) {
    case undefined:
      return json(res, found.json);
    case '/events':
      return events(state, req, res, found);
    case '/waveform':
      return answer(res, 200, 'application/octet-stream', peaks(state.made.wav, heard(state, found)));
    case '/stream':
      return json(res, { url: `/media/grant/${found.json.id}/${found.json.state === 'ready' ? 'index' : 'live'}.m3u8`, expires_at: '2099-01-01T00:00:00Z' });
    case '/retry':
      return retry(state, req, res, found);
  }
  return problem(res, 404, 'not_found', 'No such thing.');
}

const list = (state) => [...state.tracks.values()].map((t) => t.json).filter((t) => !t.gone).sort((a, b) => b.created_at.localeCompare(a.created_at));

function newTrack(state, filename, size) {
  const id = randomBytes(16).toString('hex');
  const json = {
    id, state: 'ingesting', title: filename.replace(/\.\w+$/, ''), filename, duration_ms: null, samples: null, rate: null, segments_ready: 0,
    size: null, sha256: null, loudness: null, error: null, codec: null, lossless: null, stored: false,
    upload: { offset: 0, length: size, state: 'opened' }, created_at: new Date().toISOString(),
  };
  const track = { json };
  state.tracks.set(id, track);
  return track;
}

function seed(state, i) {
  const names = ['Low tide', 'Sluice and wheel', 'Nine o’clock water', 'The long weir', 'Undershot'];
  const track = newTrack(state, `${names[i % names.length]}.flac`, 31_000_000);
  finish(state, track, createHash('sha256').update(String(i)).digest('hex'), 31_412_886 + i * 1_234_567);
  track.json.created_at = new Date(Date.UTC(2026, 0, 9 - i)).toISOString();
}

function finish(state, track, sha256, size) {
  const ms = state.seconds * 1000;
  Object.assign(track.json, {
    state: 'ready', stored: true, sha256, size, duration_ms: ms, samples: state.seconds * 44100, rate: 44100, codec: 'pcm_s16le', lossless: true,
    segments_ready: state.ends.length, loudness: { integrated: -14.2, range: 6.1, true_peak: -1.1 }, upload: null,
  });
  changed(state, track);
}

function changed(state, track) {
  for (const l of state.listeners) if (l.track === track) l.res.write(`event: track\ndata: ${JSON.stringify(track.json)}\n\n`);
}

function events(state, req, res, track) {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const listener = { track, res };
  state.listeners.add(listener);
  res.write(`event: track\ndata: ${JSON.stringify(track.json)}\n\n`);
  req.on('close', () => state.listeners.delete(listener));
}

async function files(state, req, res, path) {
  if (req.method !== 'HEAD' && req.headers['x-csrf-token'] !== 'mock-token') return problem(res, 403, 'csrf', 'The CSRF token is missing.');
  const tus = { 'tus-resumable': '1.0.0', 'cache-control': 'no-store' };
  if (req.method === 'POST') {
    const size = Number(req.headers['upload-length']);
    const meta = Object.fromEntries((req.headers['upload-metadata'] ?? '').split(',').map((p) => p.split(' ')).map(([k, v]) => [k, Buffer.from(v ?? '', 'base64').toString()]));
    const track = newTrack(state, meta.filename, size);
    const upload = { id: randomBytes(16).toString('hex'), size, received: 0, durable: 0, hash: createHash('sha256'), head: Buffer.alloc(0), track };
    state.uploads.set(upload.id, upload);
    return void res.writeHead(201, { ...tus, location: `/files/${upload.id}`, 'millrace-track': track.json.id }).end();
  }
  const upload = state.uploads.get(path.slice(7));
  if (upload === undefined) return problem(res, 404, 'not_found', 'No such upload.');
  const track = { 'millrace-track': upload.track.json.id };
  if (req.method === 'HEAD') {
    upload.durable = upload.received;
    return void res.writeHead(200, { ...tus, ...track, 'upload-offset': upload.durable, 'upload-length': upload.size }).end();
  }
  if (req.method === 'DELETE') {
    state.uploads.delete(upload.id);
    state.tracks.delete(upload.track.json.id);
    return void res.writeHead(204, tus).end();
  }
  if (Number(req.headers['upload-offset']) !== upload.received) return problem(res, 409, 'wrong_offset', `The upload stands at ${upload.received}.`);
  for await (const chunk of req) take(state, upload, chunk);
  commit(state, upload, upload.received);
  res.writeHead(204, { ...tus, ...track, 'upload-offset': upload.received }).end();
}

function take(state, upload, chunk) {
  if (upload.head.length < 4) upload.head = Buffer.concat([upload.head, chunk.subarray(0, 4)]);
  upload.hash.update(chunk);
  upload.received += chunk.length;
  if (upload.received - upload.durable >= STEP) commit(state, upload, upload.received - (upload.received % STEP));
}

function commit(state, upload, durable) {
  const { json } = upload.track;
  upload.durable = durable;
  json.upload = { offset: durable, length: upload.size, state: durable === upload.size ? 'sealing' : 'receiving' };
  if (upload.head.length >= 4 && upload.head.toString('latin1', 0, 4) !== 'RIFF' && json.state !== 'failed') {
    Object.assign(json, { state: 'failed', error: { code: 'unsupported_media', detail: 'this is plain text, not sound' } });
  } else if (json.state !== 'failed') {
    const seconds = (durable / upload.size) * state.seconds;
    json.segments_ready = state.ends.filter((e) => e <= seconds).length;
    Object.assign(json, { codec: 'pcm_s16le', rate: 44100, lossless: true });
    if (json.segments_ready > 0) json.state = 'playable';
  }
  changed(state, upload.track);
  if (durable < upload.size) return;
  const sha256 = upload.hash.digest('hex');
  if (json.state === 'failed') Object.assign(json, { stored: true, sha256, size: upload.size, upload: null });
  else setTimeout(() => finish(state, upload.track, sha256, upload.size), 1200);
  changed(state, upload.track);
}

function retry(state, req, res, track) {
  if (req.headers['x-csrf-token'] !== 'mock-token') return problem(res, 403, 'csrf', 'The CSRF token is missing.');
  const error = track.json.error;
  Object.assign(track.json, { state: 'ingesting', error: null });
  changed(state, track);
  setTimeout(() => {
    Object.assign(track.json, { state: 'failed', error });
    changed(state, track);
  }, 800);
  res.writeHead(202).end();
}

const heard = (state, track) => (track.json.state === 'ready' ? state.seconds : (state.ends[track.json.segments_ready - 1] ?? 0));

function media(state, res, [, id, ...rest]) {
  const track = state.tracks.get(id);
  if (track === undefined) return problem(res, 403, 'forbidden', 'No.');
  const [rung, name] = rest;
  if (rest.length === 1) {
    const isLive = rung === 'live.m3u8';
    const lines = RUNGS.flatMap((r) => [`#EXT-X-STREAM-INF:BANDWIDTH=${r.bandwidth},CODECS="${r.codecs}"`, `${r.name}/${isLive ? 'live' : 'vod'}.m3u8`]);
    const start = isLive ? ['#EXT-X-START:TIME-OFFSET=0'] : [];
    return answer(res, 200, TYPES.m3u8, ['#EXTM3U', '#EXT-X-VERSION:7', '#EXT-X-INDEPENDENT-SEGMENTS', ...start, ...lines].join('\n'));
  }
  if (name === 'live.m3u8' || name === 'vod.m3u8') {
    const isWhole = track.json.state === 'ready';
    return answer(res, 200, TYPES.m3u8, playlist(state.made.folder, rung, track.json.segments_ready, isWhole));
  }
  return file(res, join(state.made.folder, rung, name));
}

function shell(res) {
  const index = existsSync(new URL('index.txt', DIST)) ? readFileSync(new URL('index.txt', DIST), 'utf8').trim().split('\n').map((l) => l.split(' ')) : [];
  const of = (kind) => index.filter(([k]) => k === kind).map(([, name]) => `/assets/${name}`);
  const page = readFileSync(new URL('shell.html', import.meta.url), 'utf8')
    .replace('<!-- head -->', `${of('icon').map((s) => `<link rel="icon" href="${s}">`)}${of('style').map((s) => `<link rel="stylesheet" href="${s}">`).join('')}${of('script').map((s) => `<script type="module" src="${s}"></script>`).join('')}`);
  res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': CSP, 'referrer-policy': 'no-referrer' }).end(page);
}

function file(res, path) {
  if (!existsSync(path)) return problem(res, 404, 'not_found', 'No such file.');
  res.writeHead(200, { 'content-type': TYPES[path.split('.').pop()] ?? 'application/octet-stream' });
  createReadStream(path).pipe(res);
}

const answer = (res, status, type, body) => void res.writeHead(status, { 'content-type': type, 'cache-control': 'no-cache' }).end(body);
const json = (res, value) => answer(res, 200, 'application/json', JSON.stringify(value));
const problem = (res, status, code, detail) => answer(res, status, 'application/problem+json', JSON.stringify({ status, code, detail }));

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const option = (name, fallback) => (process.argv.includes(name) ? Number(process.argv[process.argv.indexOf(name) + 1]) : fallback);
  const running = await mock({ port: option('--port', 8090), seconds: option('--seconds', 360), library: option('--library', 3) });
  console.log(`http://127.0.0.1:${running.port}/`);
}
