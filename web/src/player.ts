// One player for the page: what plays, how far it is, and how far it may go while the upload still runs.
//
// Promises: a growing (EVENT) playlist plays from its start and waits at its edge, saying so; the finished
//           playlist is taken at the next play, never under a running one; an expired grant is renewed in place;
//           a finished track goes on to the next finished one of the list, without a gap where the browser can.
// Three ways to make sound, each loaded when it is first needed: `gapless` for finished tracks, hls.js for growing ones
// and where `gapless` gave up, and Safari's own HLS, where the rungs are its own business.

import type { Gapless } from './gapless/gapless';
import type { HlsSound } from './hls';
import { readJson, Refused, RENEWALS_MAX, RENEW_MS } from './http';
import { storeOf } from './store';
import type { Track } from './track';

/** A seek to the very edge of what has arrived would only wait; it lands this far before it. */
const EDGE_SECONDS = 0.25;
/** A stall closer to the edge than this waits for the upload; one farther from it waits for the line. */
const NEAR_EDGE_SECONDS = 1.5;
/** Later than this in a track, "previous" goes back to its own start. */
const RESTART_SECONDS = 3;
/** After so long without trouble the count starts again. */
const CALM_MS = 60_000;
const CHOICE_KEY = 'millrace.rung';
const GIVEN_UP = 'This track can’t be played at the moment. Play tries again.';

export type Status = 'idle' | 'loading' | 'playing' | 'paused' | 'waiting' | 'ended' | 'failed';

export interface Playing {
  id: string | null;
  title: string;
  status: Status;
  /** The playlist may still grow. */
  isGrowing: boolean;
  at: number;
  /** Seconds that can be sought to. */
  until: number;
  rungs: string[];
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

/** The list's ready track before or after this one, without those that turned out not to be there. */
export type Neighbour = (id: string | null, step: 1 | -1, skip: ReadonlySet<string>) => Track | null;

export class Player {
  readonly now = storeOf<Playing>({
    id: null, title: '', status: 'idle', isGrowing: false, at: 0, until: 0, rungs: [],
    choice: localStorage.getItem(CHOICE_KEY) ?? 'auto', heard: null, volume: 1, error: null,
  });
  private hls: HlsSound | null = null;
  private gapless: Gapless | null = null;
  private readonly skip = new Set<string>();
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

  constructor(
    private readonly audio: HTMLAudioElement,
    private readonly neighbour: Neighbour,
  ) {
    for (const event of ['timeupdate', 'seeked', 'durationchange']) audio.addEventListener(event, () => this.hear());
    audio.addEventListener('playing', () => this.set({ status: 'playing', error: null }));
    // Both are told a moment later: a seek may have left the end, or gone on, in between.
    audio.addEventListener('ended', () => {
      if (audio.ended) this.ended();
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
      if (this.gapless !== null) this.fallBack();
      else if (this.hls === null && !this.isOpening) this.renew();
    });
    mediaKeys(this);
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
    else if (this.gapless !== null && status === 'ended') this.seek(0);
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

  /** The ready track that is next in the list, from its start. */
  next(): void {
    const next = this.neighbour(this.now.read().id, 1, this.skip);
    if (next !== null) this.start(next, 0);
  }

  /** Back to the start of the track; from there, to the track before it. */
  previous(): void {
    const { id, at } = this.now.read();
    const before = at > RESTART_SECONDS ? null : this.neighbour(id, -1, this.skip);
    if (before === null) this.seek(0);
    else this.start(before, 0);
  }

  /** Goes there. From the end the sound goes on by itself; while something opens, it opens there. */
  seek(seconds: number): void {
    const { audio } = this;
    const { until, isGrowing } = this.now.read();
    if (this.current === null || until <= 0) return;
    const at = Math.max(0, Math.min(seconds, isGrowing ? until - EDGE_SECONDS : until));
    const wasEnded = audio.ended;
    if (this.gapless !== null) this.gapless.seek(at);
    else if (this.isOpening || audio.readyState === HTMLMediaElement.HAVE_NOTHING) this.wantsAt = at;
    else audio.currentTime = at;
    this.set({ at });
    if (wasEnded && !audio.ended && !this.isOpening) void audio.play();
  }

  /** A rung's name, or `auto`; remembered for the next visit. */
  choose(choice: string): void {
    localStorage.setItem(CHOICE_KEY, choice);
    this.set({ choice });
    this.hls?.choose(choice);
    this.gapless?.choose();
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
    this.wantsSound = true;
    // What is loaded already begins without a new entry, and so without a gap.
    if (this.gapless?.goTo(track.id, from) === true) {
      this.hear();
      void this.audio.play();
    } else void this.open(track, from);
  }

  /** Opens the track's entry playlist at `from` seconds. */
  private async open(track: Track, from: number, isPlain = false): Promise<void> {
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
      if (!isPlain && !this.wasGrowing && !playsNatively(this.audio) && (await this.openGapless(track, from, mine))) return;
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
    const { playHls } = await import('./hls');
    if (mine !== this.load) return;
    const told = (tell: () => void) => {
      if (mine === this.load) tell();
    };
    this.hls = playHls(this.audio, url, {
      parsed: (rungs) => {
        const from = this.wantsAt ?? 0;
        this.set({ rungs });
        this.opened();
        return { choice: this.now.read().choice, from };
      },
      length: (until, isGrowing) => told(() => this.set({ isGrowing, until })),
      heard: (heard) => told(() => this.set({ heard })),
      stale: () => told(() => this.renew()),
    });
  }

  /** False where it can't be; then nothing was touched. */
  private async openGapless(track: Track, from: number, mine: number): Promise<boolean> {
    const { Gapless } = await import('./gapless/gapless');
    if (mine !== this.load) return true;
    if (!Gapless.isSupported() || track.samples === null || track.rate === null) return false;
    this.close();
    const told = (tell: () => void) => {
      if (mine === this.load) tell();
    };
    const at = this.wantsAt ?? from;
    this.wantsAt = null;
    this.gapless = new Gapless(this.audio, track, at, {
      following: (after) => this.neighbour(after.id, 1, this.skip),
      choice: () => this.now.read().choice,
      moved: () => told(() => this.hear()),
      skip: (gone) => this.skip.add(gone.id),
      failed: (error) => told(() => (error instanceof Refused ? this.fail(GIVEN_UP) : this.fallBack())),
    });
    this.opened();
    return true;
  }

  /** The gapless player gave up: hls.js takes this track, from the same place. */
  private fallBack(): void {
    const track = this.current;
    if (track === null) return;
    const { at } = this.now.read();
    this.wantsSound = !this.audio.paused;
    void this.open(track, at, true);
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
    if (this.renewals > RENEWALS_MAX) return this.fail(GIVEN_UP);
    if (!this.isOpening) this.wantsSound = !this.audio.paused;
    const mine = (this.renewing = this.load);
    setTimeout(() => {
      if (mine !== this.load) return;
      this.renewedAt = performance.now();
      void this.open(this.current ?? track, this.wantsAt ?? this.audio.currentTime);
    }, Math.max(0, RENEW_MS - since));
  }

  /** A finished track goes on to the next one; one that was growing plays alone. */
  private ended(): void {
    const next = this.gapless !== null || this.wasGrowing ? null : this.neighbour(this.now.read().id, 1, this.skip);
    if (next === null) this.set({ status: 'ended' });
    else this.start(next, 0);
  }

  private fail(error: string): void {
    this.close();
    this.current = null;
    this.isOpening = false;
    this.set({ status: 'failed', error });
  }

  private close(): void {
    this.hls?.close();
    this.gapless?.close();
    this.hls = this.gapless = null;
    this.audio.removeAttribute('src');
  }

  /** Notes how far the sound is; where the browser plays by itself, also how far it could be. */
  private hear(): void {
    if (this.isOpening) return;
    const { audio, gapless } = this;
    if (gapless !== null) {
      const { track, ...place } = gapless.now();
      this.current = this.current?.id === track.id ? this.current : track;
      return this.set({ id: track.id, title: this.current.title, ...place });
    }
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
function mediaKeys(player: Player): void {
  if (!('mediaSession' in navigator)) return;
  const by = (seconds: number) => () => player.seek(player.now.read().at + seconds);
  const keys: Partial<Record<MediaSessionAction, MediaSessionActionHandler>> = {
    play: () => player.toggleCurrent(),
    pause: () => player.toggleCurrent(),
    seekbackward: by(-10),
    seekforward: by(10),
    seekto: ({ seekTime }) => seekTime !== undefined && player.seek(seekTime),
    nexttrack: () => player.next(),
    previoustrack: () => player.previous(),
  };
  for (const [key, handler] of Object.entries(keys)) {
    try {
      navigator.mediaSession.setActionHandler(key as MediaSessionAction, handler);
    } catch {
      // A key that this browser doesn't know.
    }
  }
}
