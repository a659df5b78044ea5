// Drives tus-js-client as a user's program does, and tells what happened: one JSON value per line.
//
//   node tus-js.mjs '{"endpoint", "token", "file", "chunkSize"?, "inCreation"?, "url"?, "stopAt"?, "terminate"?, "protocol"?,
//                     "fromMemory"?, "deferred"?, "parallel"?, "retry"?}'
//
// {"url", "track"}                        the server named the upload
// {"method", "status", "of", "offset"?}   an answer as it came, and the upload that it is about
// {"ended": "success" | "stopped" | "terminated"}
// Absent: judgement. The test compares.

import { createReadStream, readFileSync, statSync } from 'node:fs';

import { DetailedError, Upload } from 'tus-js-client';

const asked = JSON.parse(process.argv[2]);
const tell = (what) => process.stdout.write(JSON.stringify(what) + '\n');

// Of a file's stream it takes the last piece for the last only when that is also the first, and never says so to a server of
// the IETF draft. Of memory it knows, as in a browser.
const source = asked.fromMemory ? readFileSync(asked.file) : createReadStream(asked.file);

const upload = new Upload(source, {
    endpoint: asked.url ? undefined : asked.endpoint,
    uploadUrl: asked.url,
    // It refuses to be told where it can't use it.
    uploadSize: asked.deferred || asked.parallel ? null : statSync(asked.file).size,
    uploadLengthDeferred: asked.deferred ?? false,
    parallelUploads: asked.parallel ?? 1,
    metadataForPartialUploads: { piece: 'of noise' },
    protocol: asked.protocol ?? 'tus-v1',
    chunkSize: asked.chunkSize ?? Infinity,
    uploadDataDuringCreation: asked.inCreation ?? false,
    headers: { Authorization: `Bearer ${asked.token}` },
    metadata: { filename: 'noise.bin', filetype: 'application/octet-stream' },
    retryDelays: asked.retry ?? null,
    onAfterResponse(request, response) {
        const [track, offset] = [response.getHeader('Millrace-Track'), response.getHeader('Upload-Offset')];
        const location = response.getHeader('Location');
        const of = location ?? request.getURL();
        if (location) tell({ url: of, track });
        tell({ method: request.getMethod(), status: response.getStatus(), of, offset: offset && Number(offset) });
    },
    onProgress(sent) {
        if (asked.stopAt !== undefined && sent >= asked.stopAt) void stop();
    },
    onSuccess: () => end('success'),
    onError(error) {
        const answer = error instanceof DetailedError ? error.originalResponse?.getBody() : undefined;
        console.error(`${error}`, answer ?? '');
        process.exit(1);
    },
});

let stopping = false;

/** In the middle of a request, and no answer to it is waited for. */
async function stop() {
    if (stopping) return;
    stopping = true;
    await upload.abort(asked.terminate ?? false);
    tell({ url: upload.url });
    end(asked.terminate ? 'terminated' : 'stopped');
}

function end(how) {
    tell({ ended: how });
    process.exit(0);
}

upload.start();
