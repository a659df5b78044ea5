// The real server for one run: on a folder of its own that nothing outlives, stopped as an operator would stop it.
//
// Promises: a panic, an error in the log or an exit code other than 0 fails the run, whatever the page showed.

import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BINARY = join(resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target'), 'debug/millrace');
/** A private PostgreSQL is made first; seconds, on a machine that does other things too. */
const READY_MS = 90_000;
const STOP_MS = 30_000;
/** The smallest part: what is durable then grows in steps that a test file has several of. */
const PART_BYTES = '5MiB';

/** `{url, tokenFile, pid, stop()}`; `stop` says what was wrong with the server, a list that should be empty. */
export async function serve() {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-served-'));
  // As root, the database runs as another user, who has to come through here.
  chmodSync(folder, 0o755);
  const data = join(folder, 'data');
  const { PATH, HOME, TMPDIR, LANG } = process.env;
  const env = { PATH, HOME, TMPDIR, LANG, MILLRACE_LOG_FORMAT: 'json', UPLOAD_PART_BYTES: PART_BYTES };
  for (const name of Object.keys(env)) if (env[name] === undefined) delete env[name];
  const child = spawn(BINARY, ['serve', '--data', data, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((done) => child.on('exit', (code, signal) => done(signal ?? code)).on('error', (e) => done(String(e))));
  process.on('exit', () => child.kill('SIGKILL'));
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  let said = '';
  const url = await new Promise((ready, fail) => {
    const late = setTimeout(() => fail(new Error(`not ready within ${READY_MS / 1000} s:\n${said}`)), READY_MS);
    const hear = (text) => {
      said += text;
      const found = /Millrace is ready: (\S+)/.exec(said)?.[1];
      if (found === undefined) return;
      clearTimeout(late);
      ready(found);
    };
    child.stdout.setEncoding('utf8').on('data', hear);
    child.stderr.setEncoding('utf8').on('data', hear);
    ended.then((how) => fail(new Error(`${BINARY} ended (${how}); was it built?\n${said}`)));
  });
  return {
    url,
    tokenFile: join(data, 'owner-token'),
    pid: child.pid,
    async stop() {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      const how = await ended;
      clearTimeout(late);
      rmSync(folder, { recursive: true, force: true });
      const wrong = said.split('\n').filter((line) => /"level":"ERROR"|panicked at/.test(line));
      return how === 0 ? wrong : [`the server ended with ${how}`, ...wrong];
    },
  };
}
