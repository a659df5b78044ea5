// Drives Uppy with its tus plugin in headless Chromium, and tells what happened: one JSON value per line, as tus-js.mjs
// does. The page comes from a server of its own, so to the daemon it is of another origin.
//
//   node uppy.mjs '{"endpoint", "token", "files", "chunkSize"?, "retry"?, "pauseAt"?, "reloadAt"?}'
//
// {"stored": name, "url"}             Uppy says that a file is there
// With "pauseAt" it is paused at that offset and resumed; with "reloadAt" the page is loaded anew, and the person chooses
// the same files again.
// Absent: judgement. The test compares.

import { createServer } from 'node:http';

import { build } from 'esbuild';

import { launch } from '../browser/browser.mjs';

const asked = JSON.parse(process.argv[2]);
const tell = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const PAGE = '<!doctype html><meta charset="utf-8"><title>Uppy</title><input type="file" multiple><script src="page.js"></script>';

/** The page and its script, on a port of their own. */
async function serve() {
    const entry = new URL('uppy-page.mjs', import.meta.url).pathname;
    const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'iife', write: false });
    const server = createServer((request, response) => {
        const isScript = request.url === '/page.js';
        response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
        response.end(isScript ? outputFiles[0].contents : PAGE);
    });
    await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
    return server;
}

/** Until what the page begins has ended; how it ended. */
async function upload(page, options) {
    await page.setInputFiles('input', asked.files);
    return page.evaluate((options) => globalThis.upload(options), options);
}

async function run(page, origin) {
    await page.exposeFunction('tell', tell);
    await page.goto(origin);
    const first = await upload(page, asked);
    if (first !== 'reload') return first;
    await page.reload();
    return upload(page, { ...asked, reloadAt: undefined });
}

const server = await serve();
const browser = await launch();
try {
    const ended = await run(await browser.newPage(), `http://127.0.0.1:${server.address().port}/`);
    tell({ ended });
} finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
}
