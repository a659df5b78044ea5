// One MediaSource with one SourceBuffer, and the waiting between its steps.
//
// Promise: nothing is changed while the buffer is busy; every step ends, also when the source is closed under it.

/** Below this two instants are the same: far less than a packet, far more than a rounding. */
export const NEAR_SECONDS = 0.005;

/** How the next bytes are placed; seconds on the timeline. */
export interface Aim {
  offset: number;
  from: number;
  to: number;
}

export class Sink {
  private readonly media = new MediaSource();
  private buffer: SourceBuffer | null = null;
  private mime = '';
  private readonly url = URL.createObjectURL(this.media);
  private readonly opened: Promise<void>;

  constructor(private readonly audio: HTMLAudioElement) {
    this.opened = new Promise((done) => this.media.addEventListener('sourceopen', () => done(), { once: true }));
    audio.src = this.url;
  }

  static plays(codec: string): boolean {
    return MediaSource.isTypeSupported(mimeOf(codec));
  }

  /** Makes the buffer ready for this codec, and for a timeline that ends there. */
  async prepare(codec: string, end: number): Promise<void> {
    await this.opened;
    const mime = mimeOf(codec);
    if (this.buffer === null) {
      this.buffer = this.media.addSourceBuffer(mime);
      this.buffer.mode = 'segments';
    } else if (mime !== this.mime) this.buffer.changeType(mime);
    this.mime = mime;
    // Only forwards: the end of what is buffered may be a microsecond later.
    if (!(this.media.duration >= end - NEAR_SECONDS) && this.media.readyState === 'open') this.media.duration = end;
  }

  aim({ offset, from, to }: Aim): void {
    const { buffer } = this;
    if (buffer === null) return;
    if (buffer.timestampOffset !== offset) buffer.timestampOffset = offset;
    // The start must always lie before the end: whichever moves away from the other goes first.
    if (to > buffer.appendWindowStart) {
      buffer.appendWindowEnd = to;
      buffer.appendWindowStart = from;
    } else {
      buffer.appendWindowStart = from;
      buffer.appendWindowEnd = to;
    }
  }

  /** Rejects with what the browser says; a full buffer is its `QuotaExceededError`. */
  append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.step((buffer) => buffer.appendBuffer(bytes));
  }

  remove(from: number, to: number): Promise<void> {
    return from < to ? this.step((buffer) => buffer.remove(from, to)) : Promise.resolve();
  }

  /** Nothing follows what is buffered. */
  end(): void {
    if (this.media.readyState === 'open' && this.buffer?.updating === false) this.media.endOfStream();
  }

  get isEnded(): boolean {
    return this.media.readyState === 'ended';
  }

  /** Until when there is sound without a gap from `at` on; null where there is none. */
  bufferedFrom(at: number): number | null {
    const { buffered } = this.audio;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) - NEAR_SECONDS <= at && at < buffered.end(i) - NEAR_SECONDS) return buffered.end(i);
    }
    return null;
  }

  get bufferedStart(): number {
    return this.audio.buffered.length === 0 ? Infinity : this.audio.buffered.start(0);
  }

  close(): void {
    URL.revokeObjectURL(this.url);
  }

  private step(begin: (buffer: SourceBuffer) => void): Promise<void> {
    return new Promise((done, failed) => {
      const { buffer } = this;
      if (buffer === null) return done();
      const over = new AbortController();
      const { signal } = over;
      const settle = (how: () => void) => () => {
        over.abort();
        how();
      };
      buffer.addEventListener('error', settle(() => failed(new Error('This sound can’t be decoded.'))), { signal });
      buffer.addEventListener('updateend', settle(done), { signal });
      this.media.addEventListener('sourceclose', settle(() => failed(new Error('The player was closed.'))), { signal });
      try {
        begin(buffer);
      } catch (error) {
        settle(() => failed(error as Error))();
      }
    });
  }
}

const mimeOf = (codec: string): string => `audio/mp4; codecs="${codec}"`;
