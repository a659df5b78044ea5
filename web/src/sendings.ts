// Files on their way: two at a time, each in one streaming request, each resumable.
//
// Promises: a pause, a lost line or a reload costs at most what the server hadn't acknowledged.
//           Nothing is shown as durable that the server didn't say.
// Absent: retries of its own; tus-js-client retries, and asks the server for the offset each time.

import { Upload, type DetailedError } from 'tus-js-client';
import { titleOf } from './format';
import { refusal, writeHeaders } from './http';
import { allKept, fingerprint, forget, keeping, previous, randomId, type Kept } from './kept';
import { after, type Happened, type Rows } from './rows';
import { speedometer } from './speed';
import type { Store } from './store';

/** A browser opens six connections to one HTTP/1.1 server: two send, two listen, two are left for playing. */
const AT_ONCE = 2;
/** Then the row says what is wrong and offers to go on; about two minutes. */
const RETRY_DELAYS_MS = [0, 500, 1500, 4000, 8000, 15000, 30000, 60000];

interface Live {
  upload: Upload;
  print: string;
}

export interface Sendings {
  add(files: File[]): Promise<void>;
  pause(key: string): void;
  resume(key: string): void;
  cancel(key: string): Promise<void>;
  /** The file of a row that survived a reload. False: it is another file. */
  giveFile(key: string, file: File): Promise<boolean>;
}

export function sendings(store: Store<Rows>, announce: (text: string) => void): Sendings {
  const live = new Map<string, Live>();
  const happen = (event: Happened) => store.write(after(store.read(), event));
  const phaseOf = (key: string) => store.read().rows.find((r) => r.key === key)?.sending?.phase;

  for (const kept of allKept().reverse()) {
    happen({ what: 'chosen', key: kept.id, name: kept.name, size: kept.size, phase: 'needs_file', trackId: kept.trackId });
  }
  window.addEventListener('online', () => {
    for (const r of store.read().rows) if (r.sending?.phase === 'stopped' && live.has(r.key)) resume(r.key);
  });

  /** Starts what waits, oldest first, while there is room. */
  function pump(): void {
    const rows = store.read().rows;
    let room = AT_ONCE - rows.filter((r) => r.sending?.phase === 'sending').length;
    for (const row of [...rows].reverse()) {
      const waiting = row.sending?.phase === 'queued' ? live.get(row.key) : undefined;
      if (waiting === undefined || room <= 0) continue;
      room -= 1;
      happen({ what: 'phase', key: row.key, phase: 'sending' });
      waiting.upload.start();
    }
  }

  async function add(files: File[]): Promise<void> {
    for (const file of files) {
      const print = await fingerprint(file);
      const kept = allKept().find((k) => k.fingerprint === print);
      const key = kept?.id ?? randomId();
      if ([...live.values()].some((l) => l.print === print)) continue;
      enqueue(key, file, print, kept ?? null);
    }
    pump();
  }

  function enqueue(key: string, file: File, print: string, kept: Kept | null): void {
    const speed = speedometer();
    let trackId = kept?.trackId ?? null;
    const upload = new Upload(file, {
      endpoint: '/files',
      headers: writeHeaders(),
      metadata: { filename: file.name, filetype: file.type },
      retryDelays: RETRY_DELAYS_MS,
      urlStorage: keeping(key, file.name, () => trackId),
      fingerprint: async () => print,
      removeFingerprintOnSuccess: true,
      onProgress: (sent) => happen({ what: 'progressed', key, sent, speed: speed.note(performance.now(), sent) }),
      onAfterResponse: (request, response) => {
        const named = response.getHeader('Millrace-Track');
        if (named !== undefined && named !== null && named !== trackId) {
          trackId = named;
          happen({ what: 'named', key, trackId: named });
        }
        const offset = Number(response.getHeader('Upload-Offset') ?? Number.NaN);
        if (request.getMethod() !== 'POST' && Number.isFinite(offset)) happen({ what: 'acknowledged', key, offset });
      },
      onSuccess: () => {
        live.delete(key);
        happen({ what: 'phase', key, phase: 'sent' });
        announce(`${titleOf(file.name)}: every byte has arrived.`);
        pump();
      },
      onError: (error) => {
        happen({ what: 'phase', key, phase: 'stopped', error: reason(error) });
        announce(`${titleOf(file.name)}: the upload stopped. ${reason(error)}`);
        pump();
      },
    });
    if (kept !== null) upload.resumeFromPreviousUpload(previous(kept));
    live.set(key, { upload, print });
    happen({ what: 'chosen', key, name: file.name, size: file.size, phase: 'queued', trackId });
  }

  function pause(key: string): void {
    const was = phaseOf(key);
    if (was === 'sending') void live.get(key)?.upload.abort();
    if (was === 'sending' || was === 'queued') happen({ what: 'phase', key, phase: 'paused' });
    pump();
  }

  function resume(key: string): void {
    if (!live.has(key)) return;
    happen({ what: 'phase', key, phase: 'queued' });
    pump();
  }

  async function cancel(key: string): Promise<void> {
    const kept = allKept().find((k) => k.id === key);
    const sending = live.get(key);
    const url = sending?.upload.url ?? kept?.url ?? null;
    try {
      await sending?.upload.abort();
      if (url !== null) await Upload.terminate(url, { headers: writeHeaders(), retryDelays: [0, 1000] });
    } catch (error) {
      // 404 and 410: it is gone already, which is what was wanted.
      const status = (error as DetailedError).originalResponse?.getStatus() ?? 0;
      if (status !== 404 && status !== 410) {
        happen({ what: 'phase', key, phase: sending === undefined ? 'needs_file' : 'stopped', error: reason(error as Error) });
        return;
      }
    }
    for (const k of allKept()) if (k.url === url) forget(k.id);
    live.delete(key);
    happen({ what: 'gone', key });
    pump();
  }

  async function giveFile(key: string, file: File): Promise<boolean> {
    const kept = allKept().find((k) => k.id === key);
    const print = await fingerprint(file);
    if (kept === undefined || kept.fingerprint !== print) return false;
    enqueue(key, file, print, kept);
    pump();
    return true;
  }

  return { add, pause, resume, cancel, giveFile };
}

function reason(error: Error | DetailedError): string {
  const answer = 'originalResponse' in error ? error.originalResponse : null;
  if (answer !== null && answer !== undefined) return refusal(answer.getStatus(), answer.getBody()).message;
  return 'The connection was lost. What has arrived is safe; go on when the line is back.';
}
