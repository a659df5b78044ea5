// One player for the page: what plays, how far it is, and how far it may go while the upload still runs.
//
// Promises: a growing (EVENT) playlist plays from its start and waits at its edge, saying so; the finished
//           playlist is taken at the next play, never under a running one; an expired grant is renewed in place.
// hls.js (light) is loaded at the first Play, without its worker, so that the page's CSP needs no exception.
// Safari plays HLS by itself; there the rungs are its own business.

import type Hls from 'hls.js';
import { rungName } from './format';
import { readJson } from './http';
import { storeOf, type Store } from './store';
import type { Track } from './track';

/** A seek to the very edge of what has arrived would only wait; it lands this far before it. */
const EDGE_SECONDS = 0.25;
/** A grant is renewed at most this often: a player never becomes a load test. */
const RENEW_MS = 4000;
const RENEWALS_MAX = 20;
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

export interface Player {
  now: Store<Playing>;
  toggle(track: Track): void;
  toggleCurrent(): void;
  /** News of a track; the one that plays is known by its newest state from then on. */
  heard(track: Track): void;
  playAt(track: Track, seconds: number): void;
  seek(seconds: number): void;
  choose(rung: string): void;
  setVolume(volume: number): void;
}

interface Entry {
  url: string;
  expires_at: string;
}

export function player(audio: HTMLAudioElement): Player {
  const now = storeOf<Playing>({
    id: null, title: '', status: 'idle', isGrowing: false, at: 0, until: 0, rungs: [],
    choice: localStorage.getItem(CHOICE_KEY) ?? 'auto', heard: null, volume: 1, error: null,
  });
  let hls: Hls | null = null;
  let current: Track | null = null;
  let wasGrowing = false;
  let renewals = 0;
  let load = 0;

  const set = (change: Partial<Playing>) => now.write({ ...now.read(), ...change });

  function hear(): void {
    const at = audio.currentTime;
    const { isGrowing, until } = now.read();
    set({ at, until: isGrowing || hls !== null ? until : finite(audio.duration) });
  }
  audio.addEventListener('timeupdate', hear);
  audio.addEventListener('seeked', hear);
  audio.addEventListener('durationchange', hear);
  audio.addEventListener('playing', () => set({ status: 'playing', error: null }));
  audio.addEventListener('pause', () => {
    if (!audio.ended && now.read().status !== 'loading') set({ status: 'paused' });
  });
  audio.addEventListener('ended', () => set({ status: 'ended' }));
  audio.addEventListener('waiting', () => {
    const { isGrowing, until } = now.read();
    set({ status: isGrowing && audio.currentTime > until - 1.5 ? 'waiting' : 'loading' });
  });
  audio.addEventListener('error', () => {
    if (hls === null && current !== null) renew(audio.currentTime);
  });

  /** Opens the track's entry playlist at `from` seconds and plays. */
  async function open(track: Track, from: number): Promise<void> {
    const mine = ++load;
    current = track;
    wasGrowing = track.state !== 'ready';
    set({
      id: track.id, title: track.title, status: 'loading', error: null, at: from,
      isGrowing: wasGrowing, until: (track.duration_ms ?? 0) / 1000, rungs: [], heard: null,
    });
    try {
      const entry = await readJson<Entry>(`/api/v1/tracks/${encodeURIComponent(track.id)}/stream`);
      if (mine !== load) return;
      close();
      if (playsNatively(audio)) await openNative(entry.url, from);
      else await openHls(entry.url, from, mine);
    } catch (error) {
      if (mine === load) fail((error as Error).message);
    }
  }

  async function openNative(url: string, from: number): Promise<void> {
    audio.src = url;
    audio.currentTime = from;
    await audio.play();
  }

  async function openHls(url: string, from: number, mine: number): Promise<void> {
    const { default: Hls } = await import('hls.js/light');
    if (mine !== load) return;
    if (!Hls.isSupported()) throw new Error('This browser can’t play HLS.');
    const h = new Hls({ enableWorker: false, startPosition: from, backBufferLength: 60 });
    hls = h;
    h.on(Hls.Events.MANIFEST_PARSED, () => {
      const rungs = h.levels.map((l, level) => ({ level, name: rungName(l.audioCodec, l.bitrate, l.uri) }));
      set({ rungs });
      apply();
      void audio.play().catch(() => set({ status: 'paused' }));
    });
    h.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => set({ isGrowing: details.live, until: details.edge }));
    h.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => set({ heard: now.read().rungs[frag.level]?.name ?? null }));
    h.on(Hls.Events.ERROR, (_, data) => {
      if (!data.fatal) return;
      if (data.type === Hls.ErrorTypes.MEDIA_ERROR && renewals === 0) {
        renewals += 1;
        h.recoverMediaError();
      } else renew(audio.currentTime);
    });
    h.attachMedia(audio);
    h.loadSource(url);
  }

  /** The grant ran out, a run was replaced, or the server was away: a new entry, the same place. */
  function renew(at: number): void {
    const track = current;
    if (track === null) return;
    if (renewals >= RENEWALS_MAX) return fail('This track can’t be played at the moment. Play tries again.');
    renewals += 1;
    const mine = load;
    set({ status: now.read().isGrowing ? 'waiting' : 'loading' });
    setTimeout(() => {
      if (mine === load) void open(track, at);
    }, RENEW_MS);
  }

  function fail(error: string): void {
    close();
    current = null;
    set({ status: 'failed', error });
  }

  function close(): void {
    hls?.destroy();
    hls = null;
    audio.removeAttribute('src');
  }

  /** Auto stays among the AAC rungs: one codec never changes under the listener's ears unasked. */
  function apply(): void {
    if (hls === null) return;
    const { rungs, choice } = now.read();
    const wanted = rungs.find((r) => r.name === choice)?.level ?? -1;
    const lossless = rungs.find((r) => r.name.startsWith('Lossless'))?.level ?? -1;
    hls.autoLevelCapping = lossless > 0 && lossless === rungs.length - 1 ? lossless - 1 : -1;
    hls.nextLevel = wanted;
  }

  function toggle(track: Track): void {
    const { id, status } = now.read();
    const isFinishedNow = wasGrowing && track.state === 'ready' && (status === 'ended' || status === 'paused');
    if (id !== track.id || status === 'failed' || current === null) {
      renewals = 0;
      void open(track, 0);
    } else if (audio.paused && isFinishedNow) {
      renewals = 0;
      void open(track, status === 'ended' ? 0 : audio.currentTime);
    } else if (audio.paused) {
      set({ status: 'loading' });
      void audio.play();
    } else audio.pause();
  }

  function toggleCurrent(): void {
    if (current !== null) toggle(current);
  }

  function playAt(track: Track, seconds: number): void {
    if (now.read().id === track.id && current !== null) return seek(seconds);
    renewals = 0;
    void open(track, seconds);
  }

  function seek(seconds: number): void {
    const { until, isGrowing } = now.read();
    if (current === null || until <= 0) return;
    const edge = isGrowing ? until - EDGE_SECONDS : until;
    audio.currentTime = Math.max(0, Math.min(seconds, edge));
    set({ at: audio.currentTime });
  }

  function choose(choice: string): void {
    localStorage.setItem(CHOICE_KEY, choice);
    set({ choice });
    apply();
  }

  function setVolume(volume: number): void {
    audio.volume = volume;
    set({ volume });
  }

  mediaKeys(toggleCurrent, (by) => seek(audio.currentTime + by));
  return {
    now, toggle, playAt, seek, choose, setVolume,
    toggleCurrent,
    heard(track) {
      if (current?.id !== track.id || current === track) return;
      current = track;
      if (now.read().title !== track.title) set({ title: track.title });
    },
  };
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

const finite = (n: number): number => (Number.isFinite(n) ? n : 0);
