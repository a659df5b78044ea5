// The page in a real browser, case by case. Prints TAP; exit code 0 only when every case holds.
//
// node run.mjs [--url http://127.0.0.1:8080] [--token-file data/owner-token] [--screenshot page.png] [--only WORD]
// Without --url (or MILLRACE_URL) it starts the debug build on a folder of its own, and its log is a case too.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch, open } from './browser.mjs';
import { cases } from './cases.mjs';
import { serve } from './server.mjs';
import { slowLine } from './slow.mjs';

const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined);

async function main() {
  const given = option('--url') ?? process.env.MILLRACE_URL;
  const only = option('--only');
  const own = given === undefined ? await serve() : null;
  const tokenFile = own?.tokenFile ?? option('--token-file') ?? process.env.MILLRACE_TOKEN_FILE;
  const target = new URL(own?.url ?? given);
  const browser = await launch();
  const folder = mkdtempSync(join(tmpdir(), 'millrace-page-'));
  const chosen = cases.filter((c) => only === undefined || c.name.includes(only));
  let failed = 0;
  console.log(`TAP version 13\n1..${chosen.length + 1}`);
  for (const [i, test] of chosen.entries()) {
    const line = await slowLine(Number(target.port), target.hostname);
    const origin = `http://127.0.0.1:${line.port}`;
    const { context, page, seen } = await open(browser, origin, test.context);
    const began = Date.now();
    const notes = [];
    const world = { page, line, origin, folder, note: (text) => notes.push(text), serverPid: own?.pid, screenshot: option('--screenshot'), home: () => home(page, origin, tokenFile) };
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
    await context.close().catch(() => {});
    line.close();
  }
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
  const wrong = (await own?.stop()) ?? [];
  if (wrong.length > 0) failed += 1;
  console.log(`${wrong.length > 0 ? 'not ok' : 'ok'} ${chosen.length + 1} - the server ends cleanly and logged no error`);
  for (const line of wrong) console.log(`# ${line}`);
  console.log(`# ${chosen.length + 1 - failed} held, ${failed} failed`);
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
