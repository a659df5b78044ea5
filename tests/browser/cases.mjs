// What the page promises, one case each.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drop } from './browser.mjs';
import { players } from './players.mjs';
import { gapless } from './gapless.mjs';
import { arrivesWhole, card, durable, durableOver, heardAt, player, pressPlay, runsFrom, sent, slide, SLOW, sound, until } from './steps.mjs';
import { reach } from './reach.mjs';

/** Long enough that what the kernels hold of it, some megabytes, is a small part of half of it. */
const SECONDS = 360;

async function playsWhileItUploads({ page, line, folder, home, note, screenshot }) {
  const file = sound(folder, 'Rain on the wheel', SECONDS);
  await home();
  await page.evaluate(() => {
    globalThis.__said = [];
    new MutationObserver(() => globalThis.__said.push(performance.now())).observe(document.getElementById('said'), { childList: true, characterData: true, subtree: true });
  });
  line.setRate(SLOW);
  const before = line.up();
  const began = Date.now();
  await drop(page, file.path);
  const at = card(page, file.name);
  await pressPlay(at);
  note(`play after ${Date.now() - began} ms`);
  await until('currentTime over 5 s', async () => (await heardAt(page)) > 5, { ms: 30_000 });
  const left = await sent(at);
  note(`currentTime 5 s after ${Date.now() - began} ms: page sent ${left}, line carried ${line.up() - before}, of ${file.size}`);
  assert.ok(left !== null && left < file.size / 2, `${left} of ${file.size} sent`);
  assert.equal(await player(page, 'growing'), 'true');
  await until('the bar at 40 %', async () => ((await durable(at)) ?? 0) > file.size * 0.4, { ms: 30_000 });
  await until('currentTime at 12 s', async () => (await heardAt(page)) > 12, { ms: 30_000 });
  if (screenshot !== undefined) await page.screenshot({ path: screenshot });
  line.setRate(Infinity);
  await arrivesWhole(at, file, 180_000);
  const then = await heardAt(page);
  assert.equal(await player(page, 'status'), 'playing', 'the end of the upload interrupts nothing');
  await runsFrom(page, then);
  const said = await page.evaluate(() => globalThis.__said);
  const gaps = said.slice(1).map((t, i) => t - said[i]).filter((gap) => gap > 50);
  assert.ok(gaps.every((gap) => gap >= 4900), `live region every ${gaps} ms`);

  await at.locator('.play').click();
  await at.locator('.play').click();
  await until('the finished playlist', async () => (await player(page, 'growing')) === 'false' && (await page.locator('.player select option').count()) > 1);
  const rungs = (await page.locator('.player select option').evaluateAll((all) => all.map((o) => o.value))).filter((r) => r !== 'auto');
  assert.ok(rungs.length >= 4 && rungs.some((r) => /FLAC/.test(r)), `rungs: ${rungs}`);
  const whole = Number(await page.locator('.player-seek input').getAttribute('max'));
  assert.ok(Math.abs(whole - SECONDS) < 0.5, `length ${whole}`);
  for (const [i, rung] of rungs.entries()) {
    await page.selectOption('.player select', rung);
    for (const share of [0.75 - i * 0.05, 0.1 + i * 0.05]) {
      await slide(page.locator('.player-seek input'), share * whole);
      await runsFrom(page, share * whole);
    }
    await until(`${rung} is heard`, async () => (await player(page, 'heard')) === rung, { ms: 15_000 });
  }
  note(`seeks held in ${rungs.join(', ')}`);
}

async function waitsAtTheEdge({ page, line, folder, home }) {
  const file = sound(folder, 'Edge of the weir', 120);
  await home();
  line.setRate(SLOW);
  await drop(page, file.path);
  const at = card(page, file.name);
  await pressPlay(at);
  await until('sound', async () => (await heardAt(page)) > 0.5);
  line.setRate(2000);
  // Nothing new arrives; what the playlist has is played out.
  await until('waiting at the edge', async () => {
    if ((await player(page, 'status')) === 'waiting') return true;
    const edge = Number(await page.locator('.player-seek input').getAttribute('max'));
    if ((await heardAt(page)) < edge - 3) await slide(page.locator('.player-seek input'), edge - 1.5);
    return false;
  }, { ms: 60_000, every: 500 });
  assert.match(await page.locator('.player-note').innerText(), /Waiting for the upload/);
  const stood = await heardAt(page);
  line.setRate(Infinity);
  await until('it goes on by itself', async () => (await heardAt(page)) > stood + 2 && (await player(page, 'status')) === 'playing', { ms: 30_000 });
  await arrivesWhole(at, file, 120_000);
}

async function renewsItsGrant({ page, folder, home }) {
  const file = sound(folder, 'Renewed at the gate', 120);
  await home();
  await drop(page, file.path);
  const at = card(page, file.name);
  await arrivesWhole(at, file, 120_000);
  await pressPlay(at);
  await until('sound', async () => (await heardAt(page)) > 0.5);
  // From now on every URL under the grant is refused, as after its time; a new entry ends that.
  let isRefused = true;
  await page.route('**/media/**', (route) => (isRefused ? route.fulfill({ status: 403, body: '' }) : route.continue()));
  page.on('request', (r) => {
    if (r.url().endsWith('/stream')) isRefused = false;
  });
  const seek = page.locator('.player-seek input');
  await slide(seek, 90);
  await runsFrom(page, 90, 30_000);
  // A seek that comes while the new entry is asked for isn't forgotten.
  isRefused = true;
  let isMoved = null;
  await page.route('**/stream', async (route) => {
    isMoved ??= slide(seek, 50);
    await isMoved;
    await route.continue();
  });
  await slide(seek, 20);
  await runsFrom(page, 50, 30_000);
  assert.notEqual(isMoved, null, 'the entry was asked for again');
}

async function pausesAndResumes({ page, line, folder, home, note }) {
  const file = sound(folder, 'Paused at the gate', 120);
  await home();
  line.setRate(SLOW);
  await drop(page, file.path);
  const at = card(page, file.name);
  await durableOver(at, file.size * 0.2);
  await at.getByRole('button', { name: /^Pause the upload/ }).click();
  await until('paused', async () => (await at.getAttribute('data-phase')) === 'paused');
  // What the two kernels hold between the browser and the line still trickles through; then nothing does.
  let still = -1;
  await until('the line is still', async () => {
    const was = still;
    still = line.up();
    return was === still;
  }, { every: 1000 });
  assert.ok(still < file.size * 0.95, `${still} of ${file.size} went although it was paused`);
  const kept = await durable(at);
  await at.getByRole('button', { name: /^Resume the upload/ }).click();
  line.setRate(Infinity);
  await arrivesWhole(at, file);
  note(`paused at ${kept} of ${file.size}`);
}

async function survivesALostLine({ page, line, folder, home }) {
  const file = sound(folder, 'Lost line', 60);
  await home();
  line.setRate(SLOW);
  await drop(page, file.path);
  const at = card(page, file.name);
  await durableOver(at, file.size * 0.2);
  line.cut();
  await durableOver(at, file.size * 0.4);
  line.cut();
  line.setRate(Infinity);
  await arrivesWhole(at, file);
}

async function survivesAReload({ page, line, folder, home, note }) {
  const file = sound(folder, 'Reloaded midway', 120);
  const other = sound(folder, 'Another tune', 7);
  await home();
  line.setRate(SLOW);
  await drop(page, file.path);
  await durableOver(card(page, file.name), file.size * 0.4);
  await page.reload();
  const at = card(page, file.name);
  await until('it asks for the file', async () => (await at.getAttribute('data-phase')) === 'needs_file');
  const kept = await until('what is durable is known', async () => ((await durable(at)) ?? 0) > file.size * 0.3 && (await durable(at)));
  const input = at.locator('input[type=file]');
  await input.setInputFiles(other.path);
  await at.getByText('That is another file').waitFor();
  const [patch] = await Promise.all([page.waitForRequest((r) => r.method() === 'PATCH'), input.setInputFiles(file.path)]);
  const from = Number((await patch.allHeaders())['upload-offset']);
  assert.ok(from >= kept, `went on from ${from}, though ${kept} was durable`);
  note(`reloaded at ${kept}, went on from ${from}, of ${file.size}`);
  line.setRate(Infinity);
  await arrivesWhole(at, file);
  await page.reload();
  await until('nothing is left to resume', async () => (await at.getAttribute('data-phase')) === 'none');
}

async function droppedAgainGoesOn({ page, line, folder, home }) {
  const file = sound(folder, 'Dropped again', 120);
  await home();
  line.setRate(SLOW);
  await drop(page, file.path);
  await durableOver(card(page, file.name), file.size * 0.3);
  await page.reload();
  const at = card(page, file.name);
  await until('it asks for the file', async () => (await at.getAttribute('data-phase')) === 'needs_file');
  line.setRate(Infinity);
  const creations = [];
  page.on('request', (r) => r.method() === 'POST' && creations.push(r.url()));
  await drop(page, file.path);
  await arrivesWhole(at, file);
  assert.deepEqual(creations, [], 'the drop went on with the old upload');
  assert.equal(await page.locator('.card h3', { hasText: file.name }).count(), 1);
}

async function tellsWhyItFailed({ page, folder, home }) {
  const path = join(folder, 'Shopping list.flac');
  writeFileSync(path, 'milk, bread, a new water wheel\n'.repeat(4000));
  await home();
  await drop(page, path);
  const at = card(page, 'Shopping list');
  await until('failed', async () => (await at.getAttribute('data-state')) === 'failed', { ms: 60_000 });
  assert.ok((await at.locator('.failure p').first().innerText()).length > 10);
  await until('its bytes are kept', async () => (await at.locator('[data-digest]').count()) === 1);
  assert.equal(await at.getByRole('button', { name: /^Retry/ }).count(), 0, 'it would end the same way');
}

/** The server's media workers, as the system lists them. */
function workersOf(pid) {
  const read = (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) => read(`/proc/${pid}/task/${task}/children`).split(' ').filter(Boolean));
  return children.map(Number).filter((child) => read(`/proc/${child}/cmdline`).includes('media-worker'));
}

async function retriesWhatFailed({ page, folder, home, note, serverPid }) {
  if (serverPid === undefined) return note('skipped: the server isn’t ours to disturb');
  const file = sound(folder, 'Third time unlucky', 30);
  await home();
  await drop(page, file.path);
  const at = card(page, file.name);
  let killed = 0;
  await until('failed', async () => {
    for (const worker of workersOf(serverPid)) {
      process.kill(worker, 'SIGKILL');
      killed += 1;
    }
    return (await at.getAttribute('data-state', { timeout: 1000 }).catch(() => null)) === 'failed';
  }, { ms: 60_000, every: 5 });
  const why = await at.locator('.failure p').first().innerText();
  assert.ok(why.length > 10);
  note(`failed after ${killed} workers: ${why}`);
  const [retried] = await Promise.all([
    page.waitForRequest((r) => r.method() === 'POST' && r.url().endsWith('/retry')),
    at.getByRole('button', { name: /^Retry/ }).click({ timeout: 15_000 }),
  ]);
  assert.ok((await retried.allHeaders())['x-csrf-token'], 'the retry carries the CSRF token');
  await arrivesWhole(at, file);
  assert.equal(await at.locator('.failure').count(), 0);
}

async function cancels({ page, line, folder, home }) {
  const file = sound(folder, 'Thrown away', 120);
  await home();
  line.setRate(SLOW);
  await drop(page, file.path);
  const at = card(page, file.name);
  await durableOver(at, 100_000);
  await at.getByRole('button', { name: /^Cancel/ }).click();
  const [gone] = await Promise.all([
    page.waitForResponse((r) => r.request().method() === 'DELETE'),
    at.getByRole('button', { name: /^Discard/ }).click(),
  ]);
  assert.equal(gone.status(), 204);
  await until('the row is gone', async () => (await page.locator('.card h3', { hasText: file.name }).count()) === 0);
  assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((k) => k.startsWith('millrace.upload')).length), 0);
}

async function sendsTwoAtATime({ page, line, folder, home }) {
  const files = ['First of five', 'Second of five', 'Third of five', 'Fourth of five', 'Fifth of five'].map((name) => sound(folder, name, 12));
  await home();
  line.setRate(SLOW * 2);
  let most = 0;
  const input = page.locator('#files');
  await input.setInputFiles(files.map((f) => f.path));
  await until('all are ready', async () => {
    most = Math.max(most, await page.locator('.card[data-phase=sending]').count());
    for (const f of files) if ((await card(page, f.name).count()) === 0 || (await card(page, f.name).getAttribute('data-state')) !== 'ready') return false;
    return true;
  }, { ms: 90_000 });
  assert.equal(most, 2);
}

async function keepsFilesByKeyboard({ page, folder, home }) {
  const file = sound(folder, 'Kept for later', 8);
  await home();
  await drop(page, file.path);
  const at = card(page, file.name);
  await arrivesWhole(at, file);
  const menu = at.locator('.downloads summary');
  await menu.focus();
  await page.keyboard.press('Enter');
  const kept = {};
  for (const [n, format] of [[1, 'original'], [4, 'mp3']]) {
    await menu.focus();
    for (let i = 0; i < n; i++) await page.keyboard.press('Tab');
    const [download] = await Promise.all([page.waitForEvent('download', { timeout: 30_000 }), page.keyboard.press('Enter')]);
    kept[format] = { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
  }
  assert.equal(kept.original.name, `${file.name}.wav`);
  assert.ok(kept.original.bytes.equals(readFileSync(file.path)));
  assert.equal(kept.mp3.name, `${file.name}.mp3`);
  assert.equal(kept.mp3.bytes.subarray(0, 3).toString(), 'ID3');
  assert.match(page.url(), /\/$/, 'the page stays');
}

export const cases = [
  { name: 'plays before half of the file was sent, and seeks in every rung afterwards', run: playsWhileItUploads },
  { name: 'waits at the edge of what has arrived, and goes on by itself', run: waitsAtTheEdge },
  { name: 'renews an expired grant where it was', run: renewsItsGrant },
  { name: 'pauses and resumes', run: pausesAndResumes },
  { name: 'goes on after a lost line', run: survivesALostLine },
  { name: 'survives a reload in mid-upload, and refuses another file', run: survivesAReload },
  { name: 'goes on when the same file is simply dropped again', run: droppedAgainGoesOn },
  { name: 'says why a text file named .flac failed, and offers no retry', run: tellsWhyItFailed },
  { name: 'retries a track whose encoder died three times', run: retriesWhatFailed },
  { name: 'cancels in two steps and leaves nothing', run: cancels },
  { name: 'sends five files, two at a time', run: sendsTwoAtATime },
  { name: 'keeps the original and an MP3, by keyboard alone', run: keepsFilesByKeyboard },
  ...gapless,
  ...players,
  ...reach,
];
