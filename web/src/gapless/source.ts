// The bytes of one track: its playlists, inits and segments, under a grant that is asked for when it is needed.
//
// Promise: an answer that isn't 200 is a `Refused` with its status; whoever reads decides whether to ask for a new grant.

import { readJson, Refused } from '../http';
import type { Track } from '../track';
import { cutsOf, rungsOf, type Cuts, type Rung } from './playlists';

/** Too little to tell a line's speed from its delay. */
const MEASURED_BYTES = 16 * 1024;
const SMOOTHING = 0.3;

/** What the line carries, smoothed over what was loaded. */
export class Speed {
  bitsPerSecond: number | null = null;

  learn(bytes: number, ms: number): void {
    if (bytes < MEASURED_BYTES) return;
    const now = (bytes * 8000) / Math.max(ms, 1);
    this.bitsPerSecond = this.bitsPerSecond === null ? now : this.bitsPerSecond + SMOOTHING * (now - this.bitsPerSecond);
  }
}

export class Source {
  private entry: Promise<Rung[]> | null = null;
  private readonly lists = new Map<string, Promise<Cuts>>();
  private readonly inits = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

  constructor(
    private readonly track: Track,
    private readonly rate: number,
    private readonly speed: Speed,
  ) {}

  /** Asks for a new grant the next time. */
  renew(): void {
    this.entry = null;
    this.lists.clear();
    this.inits.clear();
  }

  rungs(): Promise<Rung[]> {
    return (this.entry ??= this.open());
  }

  cuts(rung: Rung): Promise<Cuts> {
    return kept(this.lists, rung.url, async () => cutsOf(await asked(rung.url, text), rung.url, this.rate));
  }

  async init(rung: Rung): Promise<Uint8Array<ArrayBuffer>> {
    const { init } = await this.cuts(rung);
    return kept(this.inits, init, () => asked(init, bytes));
  }

  async segment(rung: Rung, n: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const url = (await this.cuts(rung)).urls[n];
    if (url === undefined) throw new Error('There is no such segment.');
    const began = performance.now();
    const body = await asked(url, bytes, signal);
    this.speed.learn(body.length, performance.now() - began);
    return body;
  }

  private async open(): Promise<Rung[]> {
    const { url } = await readJson<{ url: string }>(`/api/v1/tracks/${encodeURIComponent(this.track.id)}/stream`);
    return rungsOf(await asked(url, text), new URL(url, location.href).href);
  }
}

/** What is under way is shared; what failed is asked again. */
function kept<T>(all: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = all.get(key);
  if (known !== undefined) return known;
  const made = make();
  all.set(key, made);
  made.catch(() => {
    if (all.get(key) === made) all.delete(key);
  });
  return made;
}

const text = (answer: Response): Promise<string> => answer.text();
const bytes = async (answer: Response): Promise<Uint8Array<ArrayBuffer>> => new Uint8Array(await answer.arrayBuffer());

/** What `read` makes of the answer. A line that breaks in the middle of it is a line that broke. */
async function asked<T>(url: string, read: (answer: Response) => Promise<T>, signal: AbortSignal | null = null): Promise<T> {
  try {
    const answer = await fetch(url, { credentials: 'omit', signal });
    if (!answer.ok) throw new Refused(answer.status, `http_${answer.status}`, `The server answered ${answer.status}.`);
    return await read(answer);
  } catch (error) {
    if (error instanceof Refused || signal?.aborted === true) throw error;
    throw new Refused(0, 'offline', 'The server can’t be reached.');
  }
}
