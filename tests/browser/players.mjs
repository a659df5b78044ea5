// Other people's players on a finished track: each rung, from its first sample to its end, without one complaint.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { drop } from './browser.mjs';
import { arrivesWhole, card, sound } from './steps.mjs';

const { resolve } = createRequire(import.meta.url);
const SCRIPTS = { 'hls.js': 'hls.js/dist/hls.min.js', 'hls.js light': 'hls.js/dist/hls.light.min.js', 'shaka-player': 'shaka-player/dist/shaka-player.compiled.js' };
/** Over a border of two segments. */
const SECONDS = 4;
/** Nobody listens, so nobody has to wait. */
const FASTER = 2;
/** A player's idea of the end: a packet, and a rounding. */
const NEAR_SECONDS = 0.05;

/** Plays one rung to its end, in the page: what was played, and what the player complained of. */
async function byHls({ url, level, faster }) {
  const audio = document.body.appendChild(document.createElement('audio'));
  const errors = [];
  const hls = new globalThis.Hls({ autoStartLoad: false });
  const ended = new Promise((done) => {
    audio.addEventListener('ended', () => done(), { once: true });
    audio.addEventListener('error', () => done(errors.push(`element: ${audio.error?.message}`)), { once: true });
    hls.on(globalThis.Hls.Events.ERROR, (_, data) => {
      if (data.details !== 'bufferStalledError') errors.push(`${data.details} ${data.error?.message ?? ''}`);
      if (data.fatal) done();
    });
  });
  const heard = new Set();
  hls.on(globalThis.Hls.Events.FRAG_CHANGED, (_, { frag }) => heard.add(hls.levels[frag.level].attrs['STABLE-VARIANT-ID']));
  hls.on(globalThis.Hls.Events.MANIFEST_PARSED, () => {
    hls.currentLevel = level;
    hls.startLoad(0);
    audio.playbackRate = faster;
    void audio.play();
  });
  hls.attachMedia(audio);
  hls.loadSource(url);
  await ended;
  const { currentTime, duration } = audio;
  hls.destroy();
  return { heard: [...heard], errors, currentTime, duration };
}

async function byShaka({ url, level, faster }) {
  const audio = document.body.appendChild(document.createElement('audio'));
  const errors = [];
  const player = new globalThis.shaka.Player();
  await player.attach(audio);
  player.configure({ abr: { enabled: false } });
  player.addEventListener('error', ({ detail }) => errors.push(`shaka ${detail.code}: ${detail.data}`));
  await player.load(url);
  const variants = player.getVariantTracks().sort((a, b) => a.bandwidth - b.bandwidth);
  player.selectVariantTrack(variants[level], true);
  const ended = new Promise((done) => {
    audio.addEventListener('ended', () => done(), { once: true });
    audio.addEventListener('error', () => done(errors.push(`element: ${audio.error?.message}`)), { once: true });
    player.addEventListener('error', () => done());
  });
  audio.playbackRate = faster;
  await audio.play();
  await ended;
  const heard = player.getVariantTracks().filter((v) => v.active).map((v) => v.codecs);
  const { currentTime, duration } = audio;
  await player.destroy();
  return { heard, errors, currentTime, duration };
}

/** Rungs from the lightest on, as both players sort them. */
const RUNGS = ['aac-64k', 'aac-160k', 'aac-256k', 'flac'];

async function playedByOthers({ page, folder, home, origin, note }) {
  const file = sound(folder, 'Heard elsewhere', SECONDS);
  await home();
  await drop(page, file.path);
  await arrivesWhole(card(page, file.name), file);
  const url = await page.evaluate(async (name) => {
    const { items } = await (await fetch('/api/v1/tracks?limit=100')).json();
    return (await (await fetch(`/api/v1/tracks/${items.find((t) => t.title === name).id}/stream`)).json()).url;
  }, file.name);
  await Promise.all(Object.entries(SCRIPTS).map(async ([name, script]) => {
    const other = await page.context().newPage();
    await other.route('**/empty', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>A player</title>' }));
    await other.goto(`${origin}/empty`);
    await other.evaluate(readFileSync(resolve(script), 'utf8'));
    const play = name === 'shaka-player' ? byShaka : byHls;
    const runs = RUNGS.map((_, level) => other.evaluate(play, { url, level, faster: FASTER }));
    for (const [level, run] of runs.entries()) {
      const { heard, errors, currentTime, duration } = await run;
      const what = `${name}, ${RUNGS[level]}: ${JSON.stringify({ heard, errors, currentTime, duration })}`;
      assert.deepEqual(errors, [], what);
      assert.deepEqual(heard.map((h) => h.toLowerCase()), [name === 'shaka-player' ? (level === 3 ? 'flac' : 'mp4a.40.2') : RUNGS[level]], what);
      assert.ok(Math.abs(currentTime - SECONDS) < NEAR_SECONDS && Math.abs(duration - SECONDS) < NEAR_SECONDS, what);
    }
    note(`${name}: ${RUNGS.join(', ')} to the end`);
    await other.close();
  }));
}

export const players = [{ name: 'is played to the end by other players, every rung', run: playedByOthers }];
