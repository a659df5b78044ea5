// The moves that the cases are made of.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { wav } from './sound.mjs';

/** The rate that the promise "plays before half of it was sent" is checked at. */
export const SLOW = 2_000_000;

/** A sound file of its own name: `{path, name, size, sha256}`. */
export function sound(folder, name, seconds) {
  const path = join(folder, `${name}.wav`);
  if (!existsSync(path)) writeFileSync(path, wav(seconds));
  const body = readFileSync(path);
  return { path, name, size: body.length, sha256: createHash('sha256').update(body).digest('hex') };
}

export const card = (page, name) => page.locator('.card', { has: page.locator('h3', { hasText: name }) }).first();

export async function until(what, look, { ms = 20_000, every = 50 } = {}) {
  const end = Date.now() + ms;
  let last;
  while (Date.now() < end) {
    last = await look();
    if (last !== undefined && last !== null && last !== false) return last;
    await new Promise((done) => setTimeout(done, every));
  }
  throw new Error(`not within ${ms / 1000} s: ${what}`);
}

export const sent = (at) => at.locator('[data-sent]').getAttribute('data-sent', { timeout: 1000 }).then(Number).catch(() => null);
export const durable = (at) => at.locator('[data-durable]').getAttribute('data-durable', { timeout: 1000 }).then(Number).catch(() => null);
/** By the page's own account, in seconds of the track. */
export const heardAt = (page) => page.evaluate(() => document.querySelector('.player-seek input')?.valueAsNumber ?? 0);
export const player = (page, name) => page.locator('.player').getAttribute(`data-${name}`);

/** Waits until `bytes` of the upload are durable by the page's own account. */
export const durableOver = (at, bytes) => until(`${bytes} bytes durable`, async () => ((await durable(at)) ?? 0) > bytes);

/** The track is ready and its digest is the file's. */
export async function arrivesWhole(at, file, ms = 60_000) {
  await until(`${file.name} is ready`, async () => (await at.getAttribute('data-state')) === 'ready', { ms });
  assert.equal(await at.locator('[data-digest]').getAttribute('data-digest'), file.sha256);
}

/** Leaves nothing but these tracks in the page's list: what plays next is then known. */
export async function only(page, names) {
  await page.route('**/api/v1/tracks?*', async (route) => {
    const answer = await route.fetch();
    const { items } = await answer.json();
    await route.fulfill({ json: { items: items.filter((t) => names.includes(t.title)), next_cursor: null } });
  });
}

export async function pressPlay(at) {
  await at.locator('.play:not([disabled])').click({ timeout: 20_000 });
}

/** Moves a slider as a pointer would, to `value`. */
export async function slide(slider, value) {
  await slider.evaluate((input, to) => {
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, String(to));
    input.dispatchEvent(new Event('input', { bubbles: true }));
  }, value);
}

/** Sound runs on from `from`: it passes it by a second, and it isn't somewhere else. */
export async function runsFrom(page, from, ms = 15_000) {
  await until(`sound past ${from + 1} s`, async () => {
    const at = await heardAt(page);
    return at > from + 1 && at < from + 15;
  }, { ms });
}
