// Plays one track by hls.js (light): a playlist that still grows, and what the gapless player can't.
//
// Loaded at the first Play that needs it, without its worker, so that the page's CSP needs no exception.

import Hls from 'hls.js/light';
import { rungName } from './format';

/** What the media routes answer to a grant that ended and to a run that was replaced. */
const STALE: ReadonlySet<number> = new Set([403, 404, 410]);
/** hls.js would fetch ten minutes ahead of a listener who may stop in ten seconds. */
const AHEAD_SECONDS = 60;
const BEHIND_SECONDS = 60;

export interface Told {
  /** The rungs are known: which is wanted, and where the sound is to begin. */
  parsed(rungs: string[]): { choice: string; from: number };
  length(until: number, isGrowing: boolean): void;
  heard(rung: string | null): void;
  /** Refused, gone, or in trouble: a new entry is needed. */
  stale(): void;
}

export interface HlsSound {
  choose(choice: string): void;
  close(): void;
}

export function playHls(audio: HTMLAudioElement, url: string, told: Told): HlsSound {
  if (!Hls.isSupported()) throw new Error('This browser can’t play HLS.');
  const h = new Hls({ enableWorker: false, autoStartLoad: false, maxMaxBufferLength: AHEAD_SECONDS, backBufferLength: BEHIND_SECONDS });
  let names: string[] = [];
  let wasRecovered = false;
  /** Auto stays among the AAC rungs: one codec never changes under the listener's ears unasked. */
  const choose = (choice: string): void => {
    const lossless = names.findIndex((name) => name.startsWith('Lossless'));
    h.autoLevelCapping = lossless > 0 && lossless === names.length - 1 ? lossless - 1 : -1;
    h.nextLevel = names.indexOf(choice);
  };
  h.on(Hls.Events.MANIFEST_PARSED, () => {
    names = h.levels.map((l) => rungName(l.audioCodec, l.bitrate, l.attrs['STABLE-VARIANT-ID']));
    const { choice, from } = told.parsed(names);
    choose(choice);
    h.startLoad(from);
  });
  h.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => told.length(details.edge, details.live));
  h.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => told.heard(names[frag.level] ?? null));
  h.on(Hls.Events.ERROR, (_, data) => {
    // Refused or gone: hls.js would try rung after rung with the same dead grant, and never call it fatal.
    if (STALE.has(data.response?.code ?? 0)) told.stale();
    else if (data.fatal && data.type === Hls.ErrorTypes.MEDIA_ERROR && !wasRecovered) {
      wasRecovered = true;
      h.recoverMediaError();
    } else if (data.fatal) told.stale();
  });
  h.attachMedia(audio);
  h.loadSource(url);
  return { choose, close: () => h.destroy() };
}
