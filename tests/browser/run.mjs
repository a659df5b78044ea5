// The page in a real browser, case by case. Prints TAP; exit code 0 only when every case holds.
//
// node run.mjs [--url http://127.0.0.1:8080] [--token-file data/owner-token] [--screenshot page.png] [--only WORD]
// Without --url (or MILLRACE_URL) a mock stands in for the server: then only the page is tested.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch, open } from './browser.mjs';
import { cases } from './cases.mjs';
import { slowLine } from './slow.mjs';

const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined);

async function main() {
  const url = option('--url') ?? process.env.MILLRACE_URL;
  const tokenFile = option('--token-file') ?? process.env.MILLRACE_TOKEN_FILE;
  const only = option('--only');
  const stand = url === undefined ? await (await import('./mock.mjs')).mock({ library: 2 }) : null;
  const target = stand === null ? new URL(url) : new URL(`http://127.0.0.1:${stand.port}`);
  const browser = await launch();
  const folder = mkdtempSync(join(tmpdir(), 'millrace-page-'));
  const chosen = cases.filter((c) => only === undefined || c.name.includes(only));
  let failed = 0;
  let skipped = 0;
  console.log(`TAP version 13\n1..${chosen.length}`);
  for (const [i, test] of chosen.entries()) {
    if (test.needsServer === true && stand !== null) {
      skipped += 1;
      console.log(`ok ${i + 1} - ${test.name} # SKIP the mock renders no pages`);
      continue;
    }
    const line = await slowLine(Number(target.port), target.hostname);
    const origin = `http://127.0.0.1:${line.port}`;
    const { context, page, seen } = await open(browser, origin, test.context);
    const began = Date.now();
    const notes = [];
    const world = { page, line, origin, folder, note: (text) => notes.push(text), screenshot: option('--screenshot'), home: () => home(page, origin, tokenFile) };
    try {
      await test.run(world);
      await wellBehaved(page, seen);
      console.log(`ok ${i + 1} - ${test.name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${i + 1} - ${test.name}\n  ---\n  ${String(error.stack ?? error).replaceAll('\n', '\n  ')}\n  ...`);
      await page.screenshot({ path: join(tmpdir(), `millrace-page-failed-${i + 1}.png`) }).catch(() => {});
    }
    for (const text of notes) console.log(`# ${text}`);
    await context.close();
    line.close();
  }
  await browser.close();
  stand?.close();
  rmSync(folder, { recursive: true, force: true });
  console.log(`# ${chosen.length - failed - skipped} held, ${failed} failed, ${skipped} skipped`);
  process.exit(failed === 0 ? 0 : 1);
}

/** Opens the home page, signing in by token where the server asks for it. */
async function home(page, origin, tokenFile) {
  await page.goto(`${origin}/`);
  if (new URL(page.url()).pathname !== '/sign-in') return;
  if (tokenFile === undefined) throw new Error('the server wants a token: --token-file');
  await page.fill('input[name=token]', readFileSync(tokenFile, 'utf8').trim());
  await page.click('form button[type=submit]');
  await page.waitForURL(`${origin}/`);
}

/** What no case may ever do. */
async function wellBehaved(page, seen) {
  const violations = [...seen.csp, ...(await page.evaluate(() => globalThis.__csp ?? []).catch(() => []))];
  for (const [what, list] of [['requests to others', seen.foreign], ['CSP violations', violations], ['script errors', seen.errors]]) {
    if (list.length > 0) throw new Error(`${what}: ${list.join(', ')}`);
  }
}

await main();
