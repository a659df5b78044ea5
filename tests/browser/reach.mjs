// Who can use the page and what it costs to open: keyboard, assistive technology, no motion, no JavaScript, bytes.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { drop } from './browser.mjs';
import { arrivesWhole, card, durableOver, heardAt, only, player, pressPlay, SLOW, sound, until } from './steps.mjs';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const FIRST_LOAD_BYTES = 35 * 1024;
/** Of a finished track; what grows needs hls.js, which `web/check/budget.mjs` weighs. */
const PLAYER_BYTES = 8 * 1024;

/** axe's own word; it is put in by the debugger, which the page's policy doesn't bind. */
async function violations(page) {
  await page.evaluate(readFileSync(AXE, 'utf8'));
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(' | ')}`);
}

/** It is run more than once, and no two cases upload a track of the same name. */
let heardTimes = 0;

async function accessible({ page, line, folder, home }) {
  heardTimes += 1;
  const file = sound(folder, `Heard by all, ${heardTimes}`, 120);
  const text = join(folder, 'Not a sound.flac');
  writeFileSync(text, 'words, words, words\n'.repeat(5000));
  await home();
  assert.deepEqual(await violations(page), [], 'the list');
  await drop(page, text);
  await until('failed', async () => (await card(page, 'Not a sound').getAttribute('data-state')) === 'failed', { ms: 60_000 });
  line.setRate(SLOW);
  await drop(page, file.path);
  await pressPlay(card(page, file.name));
  await until('sound', async () => (await heardAt(page)) > 0.2);
  assert.deepEqual(await violations(page), [], 'upload, player and failure');
  await card(page, file.name).getByRole('button', { name: /^Pause the upload/ }).click();
  await card(page, file.name).getByRole('button', { name: /^Cancel/ }).click();
  assert.deepEqual(await violations(page), [], 'paused, and asked whether to discard');
  await page.reload();
  await until('needs its file', async () => (await card(page, file.name).getAttribute('data-phase')) === 'needs_file');
  assert.deepEqual(await violations(page), [], 'after a reload');
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
}

async function keyboardOnly({ page, folder, home }) {
  const file = sound(folder, 'By keyboard alone', 60);
  // After its end nothing else follows.
  await only(page, [file.name]);
  await home();
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent?.trim() ?? '');
  const tabTo = async (pattern) => {
    for (let i = 0; i < 60; i++) {
      if (pattern.test(await focused())) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`no way by Tab to ${pattern}`);
  };
  await tabTo(/^Choose files$/);
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, 'none', 'the focus can be seen');
  const chooser = page.waitForEvent('filechooser');
  // The listener is told to the browser first; a press in the same breath may come before it.
  await page.waitForTimeout(300);
  await page.keyboard.press('Enter');
  await (await chooser).setFiles(file.path);
  await arrivesWhole(card(page, file.name), file);
  await tabTo(/^Play By keyboard alone$/);
  await page.keyboard.press('Space');
  await until('sound', async () => (await heardAt(page)) > 0.3);
  await page.keyboard.press('ArrowRight');
  await until('five seconds on', async () => (await heardAt(page)) > 5);
  await tabTo(/^Position in By keyboard alone$/);
  await page.keyboard.press('End');
  await until('the end', async () => (await player(page, 'status')) === 'ended');
  await page.keyboard.press('Home');
  await until('the start', async () => (await heardAt(page)) < 5);
  await page.evaluate(() => document.activeElement.blur());
  await until('playing', async () => (await player(page, 'status')) === 'playing');
  await page.keyboard.press('Space');
  await until('space pauses', async () => (await player(page, 'status')) === 'paused');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Space');
  await until('space plays', async () => (await player(page, 'status')) === 'playing');
  await tabTo(/^Auto/);
  await page.keyboard.press('ArrowDown');
  await until('a rung was chosen', async () => (await page.locator('.player select').inputValue()) !== 'auto');
}

async function withoutMotion({ page, line, folder, home }) {
  const file = sound(folder, 'Without motion', 60);
  await home();
  line.setRate(SLOW);
  await drop(page, file.path);
  await durableOver(card(page, file.name), 100_000);
  const moving = await page.evaluate(() =>
    [...document.querySelectorAll('*')].filter((e) => {
      const style = getComputedStyle(e, e.matches('.standing') ? '::before' : null);
      return style.animationName !== 'none' || style.transitionDuration.split(',').some((d) => parseFloat(d) > 0);
    }).length,
  );
  assert.equal(moving, 0);
}

async function light({ page, folder, home, note }) {
  const scripts = [];
  page.on('response', async (r) => {
    if (/\.js$/.test(new URL(r.url()).pathname)) scripts.push({ name: r.url(), bytes: gzipSync(await r.body(), { level: 9 }).length });
  });
  const weight = () => scripts.reduce((n, s) => n + s.bytes, 0);
  await home();
  await page.locator('.drop').waitFor();
  await page.waitForTimeout(500);
  const first = weight();
  assert.ok(first > 0 && first <= FIRST_LOAD_BYTES, `${first} bytes at first load`);
  const file = sound(folder, 'Light as foam', 12);
  await drop(page, file.path);
  await arrivesWhole(card(page, file.name), file);
  await pressPlay(card(page, file.name));
  await until('sound', async () => (await heardAt(page)) > 0.2);
  const then = weight() - first;
  assert.ok(then > 0 && then <= PLAYER_BYTES, `${then} bytes at the first Play`);
  note(`first load ${first} bytes of script (gzip), first Play ${then} more`);
}

async function withoutScript({ page, home }) {
  await home();
  assert.ok((await page.locator('.card h3').count()) > 0, 'the server lists the tracks');
  assert.match(await page.locator('#uploader').innerText(), /JavaScript/);
  assert.deepEqual(await page.locator('script:not([src])').count(), 0);
}

async function signsIn({ page, origin }) {
  await page.goto(`${origin}/sign-in`);
  assert.deepEqual(await violations(page), []);
  await page.fill('input[name=token]', 'not-a-token');
  await page.click('form button[type=submit]');
  await page.getByRole('alert').waitFor();
  assert.equal(new URL(page.url()).pathname, '/sign-in');
}

export const reach = [
  { name: 'is accessible (axe finds nothing), light', run: accessible, context: { colorScheme: 'light' } },
  { name: 'is accessible (axe finds nothing), dark and narrow', run: accessible, context: { colorScheme: 'dark', viewport: { width: 390, height: 800 } } },
  { name: 'works by keyboard alone', run: keyboardOnly },
  { name: 'stands still for who asked for it', run: withoutMotion, context: { reducedMotion: 'reduce' } },
  { name: 'is light: script within its budgets, the player only at the first Play', run: light },
  { name: 'lists the tracks without JavaScript', run: withoutScript, context: { javaScriptEnabled: false } },
  { name: 'refuses a wrong token and says so', run: signsIn },
];
