// The player at the foot of the page: what plays, where, at which rung.

import { useEffect } from 'preact/hooks';
import { announce } from './announce';
import { clock, spokenClock } from './format';
import { NextIcon, PauseIcon, PlayIcon, PreviousIcon, VolumeIcon } from './icons';
import { useShared } from './page';
import type { Playing } from './player';
import { neighbour } from './queue';
import { useStore } from './store';

export function PlayerBar() {
  const { player, rows } = useShared();
  const p = useStore(player.now, (now) => now);
  const hasNext = useStore(rows, (s) => neighbour(s.rows, p.id, 1) !== null);
  useEffect(() => {
    document.documentElement.dataset['player'] = p.id === null ? 'off' : 'on';
    if (p.id !== null && 'mediaSession' in navigator) navigator.mediaSession.metadata = new MediaMetadata({ title: p.title });
  }, [p.id, p.title]);
  useEffect(() => {
    if (p.status === 'waiting') announce('Waiting for the upload.');
    if (p.status === 'failed' && p.error !== null) announce(p.error);
  }, [p.status]);
  if (p.id === null) return null;

  const isRunning = p.status === 'playing' || p.status === 'loading' || p.status === 'waiting';
  return (
    <div class="player" data-status={p.status} data-growing={p.isGrowing} data-heard={p.heard ?? ''}>
      <div class="player-keys">
        <button type="button" class="quiet" aria-label="Previous track" onClick={() => player.previous()}>
          <PreviousIcon />
        </button>
        <button type="button" class="play" aria-label={isRunning ? 'Pause' : 'Play'} onClick={() => player.toggleCurrent()}>
          {isRunning ? <PauseIcon /> : <PlayIcon />}
        </button>
        <button type="button" class="quiet" aria-label="Next track" disabled={!hasNext} onClick={() => player.next()}>
          <NextIcon />
        </button>
      </div>
      <div class="player-what">
        <p class="player-title">{p.title}</p>
        <p class="player-note">{note(p)}</p>
      </div>
      <div class="player-seek">
        <span class="time">{clock(p.at)}</span>
        <input
          type="range"
          class="line"
          min={0}
          max={Math.max(p.until, 0.1)}
          step={0.1}
          value={p.at}
          aria-label="Position"
          aria-valuetext={`${spokenClock(p.at)} of ${spokenClock(p.until)}${p.isGrowing ? ' that have arrived' : ''}`}
          style={{ '--filled': `${p.until > 0 ? Math.min(100, (p.at / p.until) * 100) : 0}%` }}
          onInput={(e) => player.seek(e.currentTarget.valueAsNumber)}
        />
        <span class="time">{clock(p.until)}</span>
      </div>
      <Rungs p={p} />
      <label class="volume">
        <VolumeIcon />
        <span class="hidden">Volume</span>
        <input
          type="range"
          class="line"
          min={0}
          max={1}
          step={0.05}
          value={p.volume}
          style={{ '--filled': `${p.volume * 100}%` }}
          onInput={(e) => player.setVolume(e.currentTarget.valueAsNumber)}
        />
      </label>
    </div>
  );
}

function Rungs({ p }: { p: Playing }) {
  const { player } = useShared();
  if (p.rungs.length === 0) return null;
  const isOffered = p.choice === 'auto' || p.rungs.includes(p.choice);
  return (
    <label class="rungs">
      <span class="hidden">Quality</span>
      <select value={isOffered ? p.choice : 'auto'} onChange={(e) => player.choose(e.currentTarget.value)}>
        <option value="auto">{p.choice === 'auto' && p.heard !== null ? `Auto · ${p.heard}` : 'Auto'}</option>
        {p.rungs.map((r) => (
          <option key={r} value={r}>
            {r}
          </option>
        ))}
      </select>
    </label>
  );
}

function note(p: Playing): string {
  if (p.status === 'failed') return p.error ?? 'Can’t be played.';
  if (p.status === 'waiting') return 'Waiting for the upload…';
  if (p.status === 'loading') return 'Loading…';
  if (p.isGrowing) return 'Plays while it uploads';
  return p.status === 'ended' ? 'Played to the end' : 'Verified';
}
