// One sound in several tracks is one sound again when they are played: to the sample, at every join and border.
//
// Two checks of what was heard. Bursts lie where the source has them, so the whole chain is exact. And it is, number by
// number, what FFmpeg's decoder makes of the same packets in a row with the priming and padding left out (AAC), or the
// source itself (FLAC): so a join isn't only in time, it has no seam. A decoder of its own for each track would differ in the
// noise that AAC may put in by a random number.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drop } from './browser.mjs';
import { keepSound, keptLength, keptSound, listen } from './capture.mjs';
import { burstsIn, lagAt, onset, signal, wavOf } from './pulses.mjs';
import { decodedPackets, filesOf, packetsOf } from './rungs.mjs';
import { card, heardAt, only, player, pressPlay, slide, until } from './steps.mjs';

/** No length is a whole number of packets or blocks. Bursts lie 300 before the first join, 200 after the second, on the third. */
const LENGTHS = { 44100: [110550, 330250, 110450, 95001], 48000: [110550, 109750, 110450, 95001] };
const RUNGS = ['64 kbit/s', '256 kbit/s', 'Lossless FLAC'];
/** Samples of a track that isn't of the album. */
const FOREIGN = 66666;
const PACKET = 1024;
/** Of a segment of 6 s, and of the first one, at 44.1 kHz. */
const [FIRST, SEGMENT] = [40960, 262144];
/** A burst is found again at least so well at 64 kbit/s, the sound beside it included. */
const MATCH = 0.85;
/** Two builds of one decoder differ by less; a missing overlap of two packets by a thousand times more. */
const SAME = 1e-5;
/** After a change of rung the noise that AAC may put in differs; a seam was off by 0.0045. */
const SEAM = 1e-3;
/** Half a step of 16 bits, and the two ways to scale it to 1. */
const SAME_16 = 3.1e-5;

const sum = (numbers) => numbers.reduce((n, x) => n + x, 0);

/** Sends the parts of one sound, the last one first: the list has the newest on top, and plays downwards. */
async function album({ page, folder, home }, rate, what) {
  const lengths = LENGTHS[rate];
  const source = signal(sum(lengths), rate);
  const names = lengths.map((_, i) => `${what}, part ${i + 1} of ${lengths.length}`);
  await home();
  await page.locator('.cards .card, .empty').first().waitFor();
  for (let i = lengths.length - 1; i >= 0; i--) {
    if ((await card(page, names[i]).count()) > 0) continue;
    const from = sum(lengths.slice(0, i));
    const path = join(folder, `${names[i]}.wav`);
    writeFileSync(path, wavOf(source.subarray(from, from + lengths[i]), rate));
    await drop(page, path);
    await until(`${names[i]} is known`, async () => (await card(page, names[i]).getAttribute('data-state')) !== 'new');
  }
  for (const name of names) await until(`${name} is ready`, async () => (await card(page, name).getAttribute('data-state')) === 'ready', { ms: 60_000 });
  return { source, lengths, names, rate };
}

/** A page of its own at that rung, with nothing but these tracks in its list. */
async function listener(page, origin, { names, rate }, rung) {
  const own = await page.context().newPage();
  const errors = [];
  own.on('pageerror', (e) => errors.push(String(e)));
  await only(own, names);
  await own.addInitScript((rung) => localStorage.setItem('millrace.rung', rung), rung);
  await own.goto(`${origin}/`);
  await card(own, names[0]).waitFor();
  await keepSound(own, rate);
  return { page: own, errors };
}

/** Where `heard` has the first sample of `expected`, which isn't silent there. */
function startOf(heard, expected) {
  const from = 22050;
  const guess = onset(heard) - onset(expected);
  return guess + lagAt(expected, heard, from, guess + from).lag;
}

/** Every burst that the source has in `[from, to)` is heard there; the source's first sample is `start` of what was heard. */
function assertInPlace(what, heard, { source }, from, to, start) {
  const found = burstsIn(from, to).map((at) => ({ at, ...lagAt(source, heard, at, start + at) }));
  const told = found.map(({ at, lag, match }) => `${at}: ${lag} (${match?.toFixed(3)})`).join(', ');
  assert.ok(found.length > 0 && found.every(({ lag, match }) => lag === 0 && match > MATCH), `${what}: ${told}`);
  return `${found.length} bursts 0 samples off, match ${Math.min(...found.map(({ match }) => match)).toFixed(3)}`;
}

/** What was heard from `start` on is `expected`, number by number. */
function assertSame(what, heard, start, expected, limit) {
  let worst = { off: 0, at: 0 };
  for (let i = 0; i < expected.length; i++) {
    const off = Math.abs((heard[start + i] ?? NaN) - expected[i]);
    if (!(off <= worst.off)) worst = { off, at: i };
  }
  assert.ok(worst.off <= limit, `${what}: off by ${worst.off} at ${worst.at} of ${expected.length}`);
  return worst.off;
}

/** Each track's packets decoded in a row, and of each what its window leaves. */
async function oneDecoder(page, { names, lengths }, rung) {
  const tracks = [];
  for (const name of names) tracks.push(packetsOf(await filesOf(page, name, rung)));
  const all = decodedPackets(tracks.flat());
  const out = new Float32Array(sum(lengths));
  tracks.forEach((_, i) => {
    const from = (sum(tracks.slice(0, i).map((t) => t.length)) + 1) * PACKET;
    out.set(all.subarray(from, from + lengths[i]), sum(lengths.slice(0, i)));
  });
  return out;
}

/** A track of another rate, and without a FLAC rung. */
async function foreignTrack({ page, folder, home }, name, rate) {
  const source = signal(FOREIGN, rate);
  const [wav, mp3] = ['wav', 'mp3'].map((kind) => join(folder, `${name}.${kind}`));
  writeFileSync(wav, wavOf(source, rate));
  const { status } = spawnSync('ffmpeg', ['-v', 'error', '-y', '-i', wav, '-b:a', '320k', mp3]);
  assert.equal(status, 0);
  await home();
  await drop(page, mp3);
  await until(`${name} is ready`, async () => (await card(page, name).getAttribute('data-state')) === 'ready', { ms: 60_000 });
  return source;
}

/** The same sound at another rate, by straight lines between its samples. */
function resampled(source, from, to) {
  return Float32Array.from({ length: Math.floor((source.length - 1) * (to / from)) }, (_, i) => {
    const at = (i * from) / to;
    const k = Math.floor(at);
    return source[k] + (source[k + 1] - source[k]) * (at - k);
  });
}

async function oneSound(world, rate, otherRate) {
  const { page, origin, note } = world;
  const what = `One sound at ${rate / 1000} kHz`;
  const other = otherRate && resampled(await foreignTrack(world, `${what}, then another`, otherRate), otherRate, rate);
  const made = await album(world, rate, what);
  const names = other ? [...made.names, `${what}, then another`] : made.names;
  const listeners = [];
  for (const rung of RUNGS) listeners.push({ rung, ...(await listener(page, origin, { names, rate }, rung)) });
  await Promise.all(listeners.map(async ({ page: own, rung, errors }) => {
    await pressPlay(card(own, made.names[0]));
    // What is heard is the player's doing alone, and not that of a machine that has other things to do.
    const lasts = sum(made.lengths) / rate + (other ? other.length / rate : 0);
    await until('everything is buffered', () => own.evaluate((lasts) => {
      const { buffered } = document.querySelector('audio');
      return buffered.length === 1 && buffered.end(0) - buffered.start(0) > lasts - 0.01;
    }, lasts), { ms: 60_000 });
    await listen(own);
    await until(`${rung}: the end of the last one`, async () => (await player(own, 'status')) === 'ended', { ms: 60_000 });
    assert.equal(await own.locator('.player-title').innerText(), names.at(-1));
    const heard = await keptSound(own);
    const isLossless = rung.includes('FLAC');
    const expected = isLossless ? Float32Array.from(made.source, (s) => s / 32768) : await oneDecoder(own, made, rung);
    const start = startOf(heard, expected);
    const told = assertInPlace(rung, heard, made, 0, made.source.length, start);
    const off = assertSame(rung, heard, start, expected, isLossless ? SAME_16 : SAME);
    const after = heard.subarray(start + expected.length);
    if (other) {
      const bursts = burstsIn(0, FOREIGN).map((at) => Math.round((at * rate) / otherRate));
      const lags = bursts.map((at) => lagAt(other, after, at, at, 400)).filter((found) => found !== null);
      assert.ok(lags.length > 1 && lags.every(({ lag, match }) => lag === 0 && match > MATCH), `${rung}, then ${otherRate}: ${JSON.stringify(lags)}`);
    } else assert.ok(after.every((s) => s === 0), `${rung}: silence after the last sample`);
    note(`${rung} at ${rate}: ${told}; off by at most ${off.toExponential(1)} in ${expected.length} samples`);
    assert.deepEqual(errors, []);
    await own.close();
  }));
}

/** Where the source's first sample would be in what was heard, by a burst that is within `lags` of `guess`. */
function found(heard, { source }, burst, guess, lags) {
  const { lag, match } = lagAt(source, heard, burst, guess, lags);
  assert.ok(match > MATCH, `the burst at ${burst} isn’t heard: ${match}`);
  return guess + lag - burst;
}

async function moves(world) {
  const { page, origin, note } = world;
  const made = await album(world, 44100, 'One sound at 44.1 kHz');
  const [, second, third] = made.names;
  const { page: own, errors } = await listener(page, origin, made, '64 kbit/s');
  const title = () => own.locator('.player-title').innerText();
  const began = made.lengths[0];

  // Begun in the middle of a track, and another rung chosen before the next border.
  await slide(card(own, second).getByRole('slider'), 4.5);
  await listen(own);
  await until('sound', async () => (await heardAt(own)) > 4.6);
  await own.selectOption('.player select', '256 kbit/s');
  await until('the third one', async () => (await title()) === third && (await heardAt(own)) > 0.6);
  await own.locator('.player .play').click();
  await until('a pause', async () => (await player(own, 'status')) === 'paused');
  assert.equal(await player(own, 'heard'), '256 kbit/s');
  const heard = await keptSound(own);
  const burst = 330750;
  const start = found(heard, made, burst, onset(heard) + burst - began - 4.5 * 44100, 6000);
  const inPlace = assertInPlace('a switch', heard, made, burst, began + 8 * 44100, start);
  const border = FIRST + SEGMENT;
  const lone = decodedPackets(packetsOf(await filesOf(own, second, '256 kbit/s'))).subarray(PACKET);
  const off = assertSame('after the switch', heard, start + began + border, lone.subarray(border, border + 4 * PACKET), SEAM);
  note(`begun at 4.5 s, switched at ${(border / 44100).toFixed(2)} s, joined at 7.49 s: ${inPlace}; off by ${off.toExponential(1)} after the switch`);

  // Back to the start of the track before, of which nothing was loaded, and on over its first border.
  await own.getByRole('button', { name: 'Previous track' }).click();
  await until('two seconds of it', async () => {
    const at = await heardAt(own);
    return (await title()) === second && at > 2.2 && at < 7;
  });
  const now = await heardAt(own);
  const length = await keptLength(own);
  const again = await keptSound(own);
  const from = found(again, made, 132300, Math.round(length - now * 44100 + 132300 - began), 30000);
  note(`after a seek: ${assertInPlace('after a seek', again, made, 132300, 180000, from)}`);
  await own.locator('body').press('Shift+ArrowRight');
  await until('the third one again', async () => (await title()) === third);
  assert.deepEqual(errors, []);
}

export const gapless = [
  { name: 'plays an album of 44.1 kHz as one sound, at every rung', run: (world) => oneSound(world, 44100), context: { bypassCSP: true } },
  { name: 'plays an album of 48 kHz as one sound, at every rung, and on into another rate and codec', run: (world) => oneSound(world, 48000, 44100), context: { bypassCSP: true } },
  { name: 'starts in mid-track, changes its rung and seeks to the sample', run: moves, context: { bypassCSP: true } },
];
