// Headless Chromium as the tests want it: no network of its own, an empty profile, every complaint collected.

import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--autoplay-policy=no-user-gesture-required',
];

export async function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS });
}

/** A fresh context and page; `seen` gathers what no page of ours may ever do. */
export async function open(browser, origin, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 900 }, ...options });
  const seen = { foreign: [], csp: [], errors: [] };
  const page = await context.newPage();
  page.on('request', (r) => {
    const url = new URL(r.url());
    if (!['data:', 'blob:'].includes(url.protocol) && url.origin !== origin) seen.foreign.push(r.url());
  });
  page.on('pageerror', (e) => seen.errors.push(String(e)));
  page.on('console', (m) => {
    if (/content security policy/i.test(m.text())) seen.csp.push(m.text());
  });
  await page.addInitScript(() => {
    globalThis.__csp = [];
    document.addEventListener('securitypolicyviolation', (e) => globalThis.__csp.push(`${e.violatedDirective} ${e.blockedURI}`));
  });
  return { context, page, seen };
}

/** Drops a file from the page's own memory onto it, as a person would from a folder. */
export async function drop(page, path) {
  const id = 'dropped-by-test';
  await page.evaluate((id) => {
    const input = Object.assign(document.createElement('input'), { type: 'file', id, hidden: true });
    document.body.append(input);
  }, id);
  await page.setInputFiles(`#${id}`, path);
  await page.evaluate((id) => {
    const input = document.getElementById(id);
    const data = new DataTransfer();
    for (const file of input.files) data.items.add(file);
    const zone = document.getElementById('uploader');
    for (const type of ['dragover', 'drop']) zone.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    input.remove();
  }, id);
}
