// What uppy.mjs runs in the page: Uppy as a page has it, with nothing but the plugin under test.

import Uppy from '@uppy/core';
import Tus from '@uppy/tus';

/** Sends what was chosen. `success`, `reload` once the page should go away, or what Uppy says of a failure. */
globalThis.upload = async ({ endpoint, token, chunkSize, retry, pauseAt, reloadAt }) => {
    const uppy = new Uppy();
    let leave;
    const left = new Promise((resolve) => (leave = () => resolve('reload')));
    let paused = false;

    uppy.use(Tus, {
        endpoint,
        chunkSize: chunkSize ?? Infinity,
        retryDelays: retry ?? [],
        headers: { Authorization: `Bearer ${token}` },
        async onAfterResponse(request, response) {
            const [location, offset] = [response.getHeader('Location'), response.getHeader('Upload-Offset')];
            const of = location ?? request.getURL();
            if (location) await globalThis.tell({ url: of, track: response.getHeader('Millrace-Track') });
            await globalThis.tell({ method: request.getMethod(), status: response.getStatus(), of, offset: offset && Number(offset) });
            if (Number(offset) >= reloadAt) {
                leave();
                // The next chunk would be sent before the page is gone.
                await new Promise(() => {});
            }
            if (Number(offset) >= pauseAt && !paused) {
                paused = true;
                uppy.pauseAll();
                await globalThis.tell({ ended: 'paused' });
                setTimeout(() => uppy.resumeAll());
            }
        },
    });
    for (const file of document.querySelector('input').files) uppy.addFile({ name: file.name, type: file.type, data: file });
    return Promise.race([left, sent(uppy)]);
};

async function sent(uppy) {
    const { successful, failed } = await uppy.upload();
    for (const file of successful) await globalThis.tell({ stored: file.name, url: file.uploadURL });
    return failed.length === 0 ? 'success' : failed.map((file) => file.error).join(', ');
}
