// Plays finished tracks one after the other as one sound: nothing is missing, doubled or silent at a join.
//
// Promises: a track starts on the sample after the last one's end, for AAC and FLAC, over every segment border and every
//           change of rung; at most a minute ahead and a minute behind are kept; what the server or the line refuses is
//           asked for again under a new grant, in place.
// How:      one MediaSource for the whole queue. Each track has a window of exactly its own samples, so the encoder's
//           priming before it and the padding after it are cut off by the browser.
//           What to load next follows from where the sound is and what is buffered, and from nothing else: a seek, an
//           eviction by the browser and a new choice of rung all end in the same few lines (`wanted`).
// Absent:   playlists that still grow: hls.js plays those.

import { Refused, RENEWALS_MAX, RENEW_MS } from '../http';
import type { Track } from '../track';
import { fillLastPacket } from './boxes';
import { rungFor, segmentAt, type Cuts, type Rung } from './playlists';
import { NEAR_SECONDS, Sink } from './sink';
import { Source, Speed } from './source';
import { endOf, placed, startOf, timeOf, trackAt, type Placed } from './timeline';

/** An hour fetched ahead would be wasted on a listener who stops in ten seconds. */
const AHEAD_SECONDS = 60;
/** A browser that has no room for that gets less, down to this. */
const AHEAD_LEAST_SECONDS = 10;
const BEHIND_SECONDS = 60;
/** Taken away in pieces of at least this, not a little with every segment. */
const BEHIND_STEP_SECONDS = 10;
/** A new rung begins at the first border after this, so that the sound never has to wait for it. */
const SWITCH_SECONDS = 1.5;
/** Samples of one AAC packet (ISO/IEC 14496-3, 4.5.1.1). */
const AAC_PACKET = 1024;
/** What is answered for a track that isn't there, or can't be played. */
const GONE: ReadonlySet<number> = new Set([403, 404, 409, 410]);

/** What the queue asks of the page, and tells it. */
export interface Host {
  /** The track that follows this one. */
  following(track: Track): Track | null;
  /** A rung's name, or `auto`. */
  choice(): string;
  /** Something that `place` tells has changed. */
  moved(): void;
  /** This one isn't there any more; it isn't given as a following one again. */
  skip(track: Track): void;
  /** It can't go on. */
  failed(error: Error): void;
}

/** Where the sound is. */
export interface Place {
  track: Track;
  at: number;
  until: number;
  rungs: string[];
  heard: string | null;
}

interface Wanted {
  on: Placed;
  /** Sample of the track from which on there is nothing. */
  sample: number;
  /** What is before it is there, so the sound goes on and mustn't show a seam. */
  follows: boolean;
}

export class Gapless {
  private readonly sink: Sink;
  private readonly speed = new Speed();
  private readonly queue: Placed[] = [];
  private readonly sources = new Map<Placed, Source>();
  private readonly rungs = new Map<Placed, Rung[]>();
  private readonly cuts = new Map<Placed, Cuts>();
  /** Names of the rungs that are buffered, by track and segment. */
  private readonly made = new Map<Placed, Map<number, string>>();
  /** What the last init was of. */
  private into: { on: Placed; rung: string } | null = null;
  private lastRung: string | null = null;
  private loading: { on: Placed; sample: number; stop: AbortController } | null = null;
  private ahead = AHEAD_SECONDS;
  /** From there on everything is loaded anew. */
  private cutAt: number | null = null;
  private renewals = 0;
  private renewedAt = -Infinity;
  private isClosed = false;
  private wake: () => void = () => {};
  private readonly gone = new AbortController();

  constructor(
    private readonly audio: HTMLAudioElement,
    track: Track,
    from: number,
    private readonly host: Host,
  ) {
    this.sink = new Sink(audio);
    const first = placed(track, undefined);
    if (first === null) throw new Error('The track’s length isn’t known.');
    this.place(first);
    audio.currentTime = timeOf(first, Math.max(0, Math.min(from * first.rate, first.samples - 1)));
    const { signal } = this.gone;
    for (const event of ['timeupdate', 'seeking', 'ended']) audio.addEventListener(event, () => this.look(), { signal });
    void this.run();
  }

  /** The codecs that it may meet; FLAC is a track's second choice. */
  static isSupported = (): boolean => 'MediaSource' in window && 'changeType' in SourceBuffer.prototype && Sink.plays('mp4a.40.2');

  now(): Place {
    const on = this.current();
    const { currentTime } = this.audio;
    const until = on.samples / on.rate;
    const at = Math.max(0, Math.min(currentTime - startOf(on), until));
    const rungs = (this.rungs.get(on) ?? []).map((r) => r.name);
    return { track: on.track, at, until, rungs, heard: this.rungAt(on, at * on.rate) };
  }

  /** Goes to a place of the track that sounds. The very end is the start of the next one. */
  seek(seconds: number): void {
    const on = this.current();
    this.audio.currentTime = Math.min(startOf(on) + Math.max(0, seconds), endOf(on));
  }

  /** Goes to a track that is on the timeline already; false if it isn't next to the one that sounds. */
  goTo(id: string, seconds: number): boolean {
    const here = this.queue.indexOf(this.current());
    const there = [this.queue[here + 1], this.queue[here - 1]].find((p) => p?.track.id === id);
    if (there === undefined) return false;
    this.audio.currentTime = timeOf(there, Math.min(seconds * there.rate, there.samples - 1));
    return true;
  }

  /** The choice of rung has changed: what is heard soon is loaded anew. */
  choose(): void {
    this.cutAt = this.audio.currentTime + SWITCH_SECONDS;
    this.loading?.stop.abort();
    this.wake();
  }

  close(): void {
    this.isClosed = true;
    this.gone.abort();
    this.loading?.stop.abort();
    this.sink.close();
    this.wake();
  }

  private current(): Placed {
    const on = trackAt(this.queue, this.audio.currentTime) ?? this.queue.at(-1);
    if (on === undefined) throw new Error('an empty queue');
    return on;
  }

  private place(next: Placed): void {
    this.queue.push(next);
    this.sources.set(next, new Source(next.track, next.rate, this.speed));
  }

  /** The sound has moved. What is being loaded for another place is dropped. */
  private look(): void {
    const { loading } = this;
    if (loading !== null) {
      const wanted = this.wanted();
      if (wanted === null || wanted.on !== loading.on || wanted.sample !== loading.sample) loading.stop.abort();
    }
    this.wake();
  }

  private async run(): Promise<void> {
    while (!this.isClosed) {
      let on = this.current();
      try {
        await this.tidy();
        const wanted = this.wanted();
        on = wanted?.on ?? on;
        if (wanted !== null) await this.bring(wanted);
        else if (this.cutAt === null) await this.news();
      } catch (error) {
        if (this.isClosed || !(await this.mend(on, error as Error))) return;
      }
    }
  }

  private news(): Promise<void> {
    return new Promise((done) => (this.wake = done));
  }

  /** The first place, from where the sound is, for which nothing is buffered; null when there is enough. */
  private wanted(): Wanted | null {
    const { currentTime } = this.audio;
    const end = this.sink.bufferedFrom(currentTime);
    if (end !== null && end - currentTime >= this.ahead) return null;
    const from = (end ?? currentTime) + NEAR_SECONDS;
    const on = trackAt(this.queue, from) ?? this.extended();
    if (on === undefined) {
      // An end is an end only where the last sample is buffered.
      if (end !== null) this.sink.end();
      return null;
    }
    return { on, sample: Math.max(0, Math.floor((from - startOf(on)) * on.rate)), follows: end !== null };
  }

  private extended(): Placed | undefined {
    const last = this.queue.at(-1);
    const follower = last === undefined ? null : this.host.following(last.track);
    const next = follower === null ? null : placed(follower, last);
    if (next === null) return undefined;
    this.place(next);
    return next;
  }

  /** Takes away what is far behind, and what a new choice has made stale. */
  private async tidy(): Promise<void> {
    const { currentTime } = this.audio;
    const { cutAt } = this;
    this.cutAt = null;
    if (cutAt !== null) {
      const border = this.borderAfter(cutAt);
      const end = this.sink.bufferedFrom(currentTime);
      if (end !== null && border < end) await this.sink.remove(border, Infinity);
    }
    const keep = currentTime - BEHIND_SECONDS;
    if (this.sink.bufferedStart < keep - BEHIND_STEP_SECONDS) await this.sink.remove(0, keep);
  }

  /** The first segment border from there on, as far as the borders are known. */
  private borderAfter(seconds: number): number {
    const on = trackAt(this.queue, seconds);
    if (on === undefined) return Infinity;
    const sample = this.cuts.get(on)?.starts.find((start) => timeOf(on, start) >= seconds);
    return sample === undefined ? endOf(on) : timeOf(on, sample);
  }

  /** Loads one segment and appends it, with everything that has to come before it. */
  private async bring({ on, sample, follows }: Wanted): Promise<void> {
    const source = this.sources.get(on);
    if (source === undefined) return;
    const stop = new AbortController();
    this.loading = { on, sample, stop };
    try {
      const rungs = await source.rungs();
      this.rungs.set(on, rungs);
      const rung = rungFor(rungs.filter((r) => Sink.plays(r.codec)), this.host.choice(), this.speed.bitsPerSecond, this.lastRung);
      const cuts = await source.cuts(rung);
      this.cuts.set(on, cuts);
      const n = segmentAt(cuts, sample);
      const isNew = this.into?.on !== on || this.into.rung !== rung.name;
      // An AAC packet needs the one before it. At a change of rung that is loaded too, and kept out by the window.
      const isSwitch = isNew && follows && n > 0;
      const [init, before, body] = await Promise.all([
        isNew ? source.init(rung) : null,
        isSwitch && rung.isAac ? source.segment(rung, n - 1, stop.signal) : null,
        source.segment(rung, n, stop.signal),
      ]);
      if (stop.signal.aborted) return;
      if (rung.isAac && n === cuts.urls.length - 1) fillLastPacket(body, AAC_PACKET);
      this.into = null;
      await this.sink.prepare(rung.codec, endOf(on));
      this.sink.aim({ offset: startOf(on), from: isSwitch ? timeOf(on, cuts.starts[n] ?? 0) : startOf(on), to: endOf(on) });
      for (const bytes of [init, before, body]) if (bytes !== null) await this.sink.append(bytes);
      this.into = { on, rung: rung.name };
      this.lastRung = rung.name;
      this.note(on, n, rung.name);
      this.renewals = 0;
    } finally {
      this.loading = null;
    }
  }

  private note(on: Placed, n: number, rung: string): void {
    const made = this.made.get(on) ?? new Map<number, string>();
    this.made.set(on, made.set(n, rung));
    this.host.moved();
  }

  private rungAt(on: Placed, sample: number): string | null {
    const cuts = this.cuts.get(on);
    return cuts === undefined ? null : (this.made.get(on)?.get(segmentAt(cuts, sample)) ?? null);
  }

  /** Does about an error what can be done; false when nothing can. */
  private async mend(on: Placed, error: Error): Promise<boolean> {
    if (error.name === 'AbortError') return true;
    if (error.name === 'QuotaExceededError') return this.makeRoom();
    this.renewals += 1;
    if (!(error instanceof Refused) || this.renewals > RENEWALS_MAX) {
      this.host.failed(error);
      return false;
    }
    // A new grant didn't help, so it is gone; the sound hasn't come to it yet, and never will.
    if (GONE.has(error.status) && this.renewals > 1 && on === this.queue.at(-1) && on !== this.current()) {
      this.queue.pop();
      this.host.skip(on.track);
      return true;
    }
    await this.pause(RENEW_MS - (performance.now() - this.renewedAt));
    this.renewedAt = performance.now();
    this.sources.get(on)?.renew();
    return !this.isClosed;
  }

  /** The browser has no room: less is loaded ahead, less is kept behind, and the sound must go on first. */
  private async makeRoom(): Promise<boolean> {
    const { currentTime } = this.audio;
    const end = this.sink.bufferedFrom(currentTime) ?? currentTime;
    this.ahead = Math.max(AHEAD_LEAST_SECONDS, Math.min(this.ahead, (end - currentTime) * 0.8));
    await this.sink.remove(0, Math.max(0, currentTime - BEHIND_STEP_SECONDS));
    await this.news();
    return true;
  }

  /** Ends early when it is closed. */
  private pause(ms: number): Promise<void> {
    return new Promise((done) => {
      setTimeout(done, Math.max(0, ms));
      this.gone.signal.addEventListener('abort', () => done(), { once: true });
    });
  }
}
