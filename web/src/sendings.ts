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

export class Sendings {
  private readonly live = new Map<string, Live>();

  constructor(
    private readonly store: Store<Rows>,
    private readonly announce: (text: string) => void,
  ) {
    for (const kept of allKept().reverse()) {
      this.happen({ what: 'chosen', key: kept.id, name: kept.name, size: kept.size, phase: 'needs_file', trackId: kept.trackId });
    }
    window.addEventListener('online', () => {
      for (const r of store.read().rows) if (r.sending?.phase === 'stopped') this.resume(r.key);
    });
  }

  /** New files; one that was left unfinished goes on where it was. */
  async add(files: File[]): Promise<void> {
    for (const file of files) {
      const print = await fingerprint(file);
      if ([...this.live.values()].some((l) => l.print === print)) continue;
      const kept = allKept().find((k) => k.fingerprint === print) ?? null;
      this.enqueue(kept?.id ?? randomId(), file, print, kept);
    }
    this.pump();
  }

  /** The file of a row that survived a reload. False: it is another file. */
  async giveFile(key: string, file: File): Promise<boolean> {
    const kept = allKept().find((k) => k.id === key);
    const print = await fingerprint(file);
    if (kept === undefined || kept.fingerprint !== print) return false;
    this.enqueue(key, file, print, kept);
    this.pump();
    return true;
  }

  pause(key: string): void {
    const was = this.store.read().rows.find((r) => r.key === key)?.sending?.phase;
    if (was === 'sending') void this.live.get(key)?.upload.abort();
    if (was === 'sending' || was === 'queued') this.happen({ what: 'phase', key, phase: 'paused' });
    this.pump();
  }

  resume(key: string): void {
    if (!this.live.has(key)) return;
    this.happen({ what: 'phase', key, phase: 'queued' });
    this.pump();
  }

  /** Ends the upload here and on the server. */
  async cancel(key: string): Promise<void> {
    const sending = this.live.get(key);
    const url = sending?.upload.url ?? allKept().find((k) => k.id === key)?.url ?? null;
    try {
      await sending?.upload.abort();
      if (url !== null) await Upload.terminate(url, { headers: writeHeaders(), retryDelays: [0, 1000] });
    } catch (error) {
      // 404 and 410: it is gone already, which is what was wanted.
      const status = (error as DetailedError).originalResponse?.getStatus() ?? 0;
      if (status !== 404 && status !== 410) {
        this.happen({ what: 'phase', key, phase: sending === undefined ? 'needs_file' : 'stopped', error: reason(error as Error) });
        return;
      }
    }
    for (const k of allKept()) if (k.url === url) forget(k.id);
    this.live.delete(key);
    this.happen({ what: 'gone', key });
    this.pump();
  }

  /** Starts what waits, oldest first, while there is room. */
  private pump(): void {
    const rows = this.store.read().rows;
    let room = AT_ONCE - rows.filter((r) => r.sending?.phase === 'sending').length;
    for (const row of [...rows].reverse()) {
      const waiting = row.sending?.phase === 'queued' ? this.live.get(row.key) : undefined;
      if (waiting === undefined || room <= 0) continue;
      room -= 1;
      this.happen({ what: 'phase', key: row.key, phase: 'sending' });
      waiting.upload.start();
    }
  }

  private enqueue(key: string, file: File, print: string, kept: Kept | null): void {
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
      onProgress: (sent) => this.happen({ what: 'progressed', key, sent, speed: speed.note(performance.now(), sent) }),
      onAfterResponse: (request, response) => {
        const named = response.getHeader('Millrace-Track') ?? null;
        if (named !== null && named !== trackId) {
          trackId = named;
          this.happen({ what: 'named', key, trackId });
        }
        const offset = Number(response.getHeader('Upload-Offset') ?? Number.NaN);
        if (request.getMethod() !== 'POST' && Number.isFinite(offset)) this.happen({ what: 'acknowledged', key, offset });
      },
      onSuccess: () => this.ended(key, 'sent', null, `${titleOf(file.name)}: every byte has arrived.`),
      onError: (error) => this.ended(key, 'stopped', reason(error), `${titleOf(file.name)}: the upload stopped. ${reason(error)}`),
    });
    if (kept !== null) upload.resumeFromPreviousUpload(previous(kept));
    this.live.set(key, { upload, print });
    this.happen({ what: 'chosen', key, name: file.name, size: file.size, phase: 'queued', trackId });
  }

  private ended(key: string, phase: 'sent' | 'stopped', error: string | null, said: string): void {
    if (phase === 'sent') this.live.delete(key);
    this.happen({ what: 'phase', key, phase, error });
    this.announce(said);
    this.pump();
  }

  private happen(event: Happened): void {
    this.store.write(after(this.store.read(), event));
  }
}

function reason(error: Error | DetailedError): string {
  const answer = 'originalResponse' in error ? error.originalResponse : null;
  if (answer !== null && answer !== undefined) return refusal(answer.getStatus(), answer.getBody()).message;
  return 'The connection was lost. What has arrived is safe; go on when the line is back.';
}
