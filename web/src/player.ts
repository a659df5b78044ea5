// One player for the page: what plays, how far it is, and how far it may go while the upload still runs.
//
// Promises: a growing (EVENT) playlist plays from its start and waits at its edge, saying so; the finished
//           playlist is taken at the next play, never under a running one; an expired grant is renewed in place.
// hls.js (light) is loaded at the first Play, without its worker, so that the page's CSP needs no exception.
// Safari plays HLS by itself; there the rungs are its own business.

import type Hls from 'hls.js';
import { rungName } from './format';
import { readJson } from './http';
import { storeOf } from './store';
import type { Track } from './track';

/** A seek to the very edge of what has arrived would only wait; it lands this far before it. */
const EDGE_SECONDS = 0.25;
/** A stall closer to the edge than this waits for the upload; one farther from it waits for the line. */
const NEAR_EDGE_SECONDS = 1.5;
/** A grant is renewed at most this often: a player never becomes a load test. */
const RENEW_MS = 4000;
const RENEWALS_MAX = 20;
/** After so long without trouble the count starts again. */
const CALM_MS = 60_000;
/** What the media routes answer to a grant that ended and to a run that was replaced. */
const STALE: ReadonlySet<number> = new Set([403, 404, 410]);
/** hls.js would fetch ten minutes ahead of a listener who may stop in ten seconds. */
const AHEAD_SECONDS = 60;
const BEHIND_SECONDS = 60;
const CHOICE_KEY = 'millrace.rung';

export type Status = 'idle' | 'loading' | 'playing' | 'paused' | 'waiting' | 'ended' | 'failed';

export interface Rung {
  level: number;
  name: string;
}

export interface Playing {
  id: string | null;
  title: string;
  status: Status;
  /** The playlist may still grow. */
  isGrowing: boolean;
  at: number;
  /** Seconds that can be sought to. */
  until: number;
  rungs: Rung[];
  /** The listener's choice: a rung's name, or `auto`. */
  choice: string;
  /** The rung that is heard right now. */
  heard: string | null;
  volume: number;
  error: string | null;
}

interface Entry {
  url: string;
  expires_at: string;
}

export class Player {
  readonly now = storeOf<Playing>({
    id: null, title: '', status: 'idle', isGrowing: false, at: 0, until: 0, rungs: [],
    choice: localStorage.getItem(CHOICE_KEY) ?? 'auto', heard: null, volume: 1, error: null,
  });
  private hls: Hls | null = null;
  private current: Track | null = null;
  private wasGrowing = false;
  /** Counts openings: what an earlier one still has under way is ignored. */
  private load = 0;
  private isOpening = false;
  /** What the listener asked for last, while nothing can play yet. */
  private wantsSound = false;
  /** Where the listener wants to be, as long as the element has nothing that it could seek in. */
  private wantsAt: number | null = null;
  private renewals = 0;
  private renewedAt = -Infinity;
  private renewing = -1;
  private wasRecovered = false;

  constructor(private readonly audio: HTMLAudioElement) {
    for (const event of ['timeupdate', 'seeked', 'durationchange']) audio.addEventListener(event, () => this.hear());
    audio.addEventListener('playing', () => this.set({ status: 'playing', error: null }));
    // Both are told a moment later: a seek may have left the end, or gone on, in between.
    audio.addEventListener('ended', () => {
      if (audio.ended) this.set({ status: 'ended' });
    });
    audio.addEventListener('pause', () => {
      if (audio.paused && !audio.ended && !this.isOpening) this.set({ status: 'paused' });
    });
    audio.addEventListener('loadeddata', () => this.goWhereWanted());
    audio.addEventListener('waiting', () => {
      const { isGrowing, until } = this.now.read();
      this.set({ status: isGrowing && audio.currentTime > until - NEAR_EDGE_SECONDS ? 'waiting' : 'loading' });
    });
    audio.addEventListener('error', () => {
      if (this.hls === null && !this.isOpening) this.renew();
    });
    mediaKeys(() => this.toggleCurrent(), (by) => this.seek(audio.currentTime + by));
  }

  /** Plays the track, or pauses it when it is the one that plays. */
  toggle(track: Track): void {
    const { id, status } = this.now.read();
    const { audio } = this;
    const isFinishedNow = this.wasGrowing && track.state === 'ready';
    if (id !== track.id || this.current === null) this.start(track, 0);
    else if (this.isOpening) {
      this.wantsSound = !this.wantsSound;
      this.set({ status: this.wantsSound ? 'loading' : 'paused' });
    } else if (!audio.paused) audio.pause();
    else if (isFinishedNow) this.start(track, status === 'ended' ? 0 : audio.currentTime);
    else {
      this.set({ status: 'loading' });
      void audio.play();
    }
  }

  toggleCurrent(): void {
    if (this.current !== null) this.toggle(this.current);
  }

  /** Plays the track from there, or goes there when it is the one that plays. */
  playAt(track: Track, seconds: number): void {
    if (this.current?.id === track.id) this.seek(seconds);
    else this.start(track, seconds);
  }

  /** Goes there. From the end the sound goes on by itself; while something opens, it opens there. */
  seek(seconds: number): void {
    const { audio } = this;
    const { until, isGrowing } = this.now.read();
    if (this.current === null || until <= 0) return;
    const at = Math.max(0, Math.min(seconds, isGrowing ? until - EDGE_SECONDS : until));
    const wasEnded = audio.ended;
    if (this.isOpening || audio.readyState === HTMLMediaElement.HAVE_NOTHING) this.wantsAt = at;
    else audio.currentTime = at;
    this.set({ at });
    if (wasEnded && !audio.ended && !this.isOpening) void audio.play();
  }

  /** A rung's name, or `auto`; remembered for the next visit. */
  choose(choice: string): void {
    localStorage.setItem(CHOICE_KEY, choice);
    this.set({ choice });
    this.apply();
  }

  setVolume(volume: number): void {
    this.audio.volume = volume;
    this.set({ volume });
  }

  /** News of a track; the one that plays is known by its newest state from then on. */
  learn(track: Track): void {
    if (this.current?.id !== track.id || this.current === track) return;
    this.current = track;
    if (this.now.read().title !== track.title) this.set({ title: track.title });
  }

  /** What a listener starts by hand starts with a clean slate. */
  private start(track: Track, from: number): void {
    this.renewals = 0;
    this.wasRecovered = false;
    this.wantsSound = true;
    void this.open(track, from);
  }

  /** Opens the track's entry playlist at `from` seconds. */
  private async open(track: Track, from: number): Promise<void> {
    const mine = ++this.load;
    this.current = track;
    this.isOpening = true;
    this.wantsAt = from;
    this.wasGrowing = track.state !== 'ready';
    const known = this.now.read().id === track.id ? this.now.read().until : 0;
    this.set({
      id: track.id, title: track.title, status: this.wantsSound ? 'loading' : 'paused', error: null, at: from,
      isGrowing: this.wasGrowing, until: track.duration_ms === null ? known : track.duration_ms / 1000, rungs: [], heard: null,
    });
    try {
      const entry = await readJson<Entry>(`/api/v1/tracks/${encodeURIComponent(track.id)}/stream`);
      if (mine !== this.load) return;
      this.close();
      if (playsNatively(this.audio)) this.openNative(entry.url);
      else await this.openHls(entry.url, mine);
    } catch (error) {
      if (mine === this.load) this.fail((error as Error).message);
    }
  }

  private openNative(url: string): void {
    this.audio.src = url;
    this.opened();
  }

  private async openHls(url: string, mine: number): Promise<void> {
    const { default: Hls } = await import('hls.js/light');
    if (mine !== this.load) return;
    if (!Hls.isSupported()) throw new Error('This browser can’t play HLS.');
    const h = new Hls({ enableWorker: false, autoStartLoad: false, maxMaxBufferLength: AHEAD_SECONDS, backBufferLength: BEHIND_SECONDS });
    this.hls = h;
    h.on(Hls.Events.MANIFEST_PARSED, () => {
      this.set({ rungs: h.levels.map((l, level) => ({ level, name: rungName(l.audioCodec, l.bitrate, l.attrs['STABLE-VARIANT-ID']) })) });
      this.apply();
      h.startLoad(this.wantsAt ?? 0);
      this.opened();
    });
    h.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => this.set({ isGrowing: details.live, until: details.edge }));
    h.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => this.set({ heard: this.now.read().rungs[frag.level]?.name ?? null }));
    h.on(Hls.Events.ERROR, (_, data) => {
      if (mine !== this.load) return;
      // Refused or gone: hls.js would try rung after rung with the same dead grant, and never call it fatal.
      if (STALE.has(data.response?.code ?? 0)) return this.renew();
      if (!data.fatal) return;
      if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !this.wasRecovered) {
        this.wasRecovered = true;
        h.recoverMediaError();
      } else this.renew();
    });
    h.attachMedia(this.audio);
    h.loadSource(url);
  }

  private opened(): void {
    this.isOpening = false;
    if (this.wantsSound) this.audio.play().catch(() => this.set({ status: 'paused' }));
  }

  /** The first data is there: what was asked for while nothing was is done now. */
  private goWhereWanted(): void {
    const at = this.wantsAt;
    this.wantsAt = null;
    if (at !== null && Math.abs(this.audio.currentTime - at) > EDGE_SECONDS) this.audio.currentTime = at;
  }

  /** The grant ran out, a run was replaced, or the server was away: a new entry, the same place. */
  private renew(): void {
    const track = this.current;
    if (track === null || this.renewing === this.load) return;
    const since = performance.now() - this.renewedAt;
    this.renewals = since > CALM_MS ? 1 : this.renewals + 1;
    if (this.renewals > RENEWALS_MAX) return this.fail('This track can’t be played at the moment. Play tries again.');
    if (!this.isOpening) this.wantsSound = !this.audio.paused;
    const mine = (this.renewing = this.load);
    setTimeout(() => {
      if (mine !== this.load) return;
      this.renewedAt = performance.now();
      void this.open(this.current ?? track, this.wantsAt ?? this.audio.currentTime);
    }, Math.max(0, RENEW_MS - since));
  }

  private fail(error: string): void {
    this.close();
    this.current = null;
    this.isOpening = false;
    this.set({ status: 'failed', error });
  }

  private close(): void {
    this.hls?.destroy();
    this.hls = null;
    this.audio.removeAttribute('src');
  }

  /** Auto stays among the AAC rungs: one codec never changes under the listener's ears unasked. */
  private apply(): void {
    if (this.hls === null) return;
    const { rungs, choice } = this.now.read();
    const lossless = rungs.find((r) => r.name.startsWith('Lossless'))?.level ?? -1;
    this.hls.autoLevelCapping = lossless > 0 && lossless === rungs.length - 1 ? lossless - 1 : -1;
    this.hls.nextLevel = rungs.find((r) => r.name === choice)?.level ?? -1;
  }

  /** Notes how far the sound is; where the browser plays by itself, also how far it could be. */
  private hear(): void {
    if (this.isOpening) return;
    const { audio } = this;
    this.set({ at: audio.currentTime });
    if (this.hls !== null || audio.seekable.length === 0) return;
    this.set({ until: audio.seekable.end(audio.seekable.length - 1), isGrowing: !Number.isFinite(audio.duration) });
  }

  private set(change: Partial<Playing>): void {
    this.now.write({ ...this.now.read(), ...change });
  }
}

/** Only Apple's own engine: others that claim HLS don't yet play a growing playlist from its start. */
function playsNatively(audio: HTMLAudioElement): boolean {
  const claims = audio.canPlayType('application/vnd.apple.mpegurl') !== '';
  return claims && (navigator.vendor.startsWith('Apple') || !('MediaSource' in window));
}

/** The keyboard's and the headset's own keys. */
function mediaKeys(toggle: () => void, seekBy: (seconds: number) => void): void {
  if (!('mediaSession' in navigator)) return;
  navigator.mediaSession.setActionHandler('play', toggle);
  navigator.mediaSession.setActionHandler('pause', toggle);
  navigator.mediaSession.setActionHandler('seekbackward', () => seekBy(-10));
  navigator.mediaSession.setActionHandler('seekforward', () => seekBy(10));
}
