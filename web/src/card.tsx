// One track: play, waveform, how its upload goes, and what to do when it doesn't.

import { useEffect, useRef, useState } from 'preact/hooks';
import { announce } from './announce';
import { Cover } from './cover';
import { Downloads } from './downloads';
import { bytes, clock, shortDigest, source, titleOf } from './format';
import { CheckIcon, CopyIcon, PauseIcon, PlayIcon } from './icons';
import { post } from './http';
import { useShared } from './page';
import { SendBar } from './sendbar';
import { canRetry, failure, standing, wholeLength } from './standing';
import { useStore } from './store';
import { plays, type Row } from './track';
import { Waveform } from './waveform';
import { wantWaveform, waveforms } from './waveforms';

export function Card({ id }: { id: string }) {
  const { rows } = useShared();
  const row = useStore(rows, (s) => s.rows.find((r) => r.key === id));
  return row === undefined ? null : <Shown row={row} />;
}

function Shown({ row }: { row: Row }) {
  const { track, sending } = row;
  const title = track?.title ?? titleOf(sending?.name ?? '');
  const { text, tone } = standing(row);
  const isUnderWay = sending !== null && !(sending.phase === 'sent' && track?.stored === true);
  return (
    <li class="card" data-state={track?.state ?? 'new'} data-phase={sending?.phase ?? 'none'}>
      <div class="card-head">
        <Cover track={track} />
        <PlayButton row={row} title={title} />
        <div class="card-title">
          <h3>{title}</h3>
          <Facts row={row} />
        </div>
        <p class="standing" data-tone={tone}>
          {tone === 'good' && <CheckIcon />}
          {text}
        </p>
      </div>
      {track?.state !== 'failed' && <Sound row={row} title={title} />}
      {track?.state === 'failed' && <Failure row={row} title={title} />}
      {isUnderWay && track?.state !== 'ready' && <SendBar row={row} title={title} />}
      {track?.state === 'ready' && <Downloads track={track} title={title} />}
      {track?.sha256 != null && track.stored && <Digest hex={track.sha256} title={title} />}
    </li>
  );
}

function PlayButton({ row, title }: { row: Row; title: string }) {
  const { player } = useShared();
  const isPlaying = useStore(player.now, (p) => p.id === row.trackId && p.id !== null && p.status !== 'paused' && p.status !== 'ended' && p.status !== 'failed');
  const { track } = row;
  const can = plays(track);
  return (
    <button
      type="button"
      class="play"
      disabled={!can}
      aria-label={`${isPlaying ? 'Pause' : 'Play'} ${title}`}
      onClick={() => track !== null && player.toggle(track)}
    >
      {isPlaying ? <PauseIcon /> : <PlayIcon />}
    </button>
  );
}

function Facts({ row: { track, sending } }: { row: Row }) {
  const size = track?.size ?? track?.upload?.length ?? sending?.size ?? null;
  const loud = track?.loudness?.integrated ?? null;
  const facts = [
    track?.state === 'ready' && track.duration_ms !== null ? clock(track.duration_ms / 1000) : '',
    track === null ? '' : source(track.codec, track.rate),
    size === null ? '' : bytes(size),
    loud === null ? '' : `${loud.toFixed(1)} LUFS`,
  ];
  return <p class="facts">{facts.filter(Boolean).join(' · ') || '\u00a0'}</p>;
}

function Sound({ row, title }: { row: Row; title: string }) {
  const { player } = useShared();
  const { track } = row;
  const box = useRef<HTMLDivElement>(null);
  const [isSeen, setSeen] = useState(false);
  const peaks = useStore(waveforms, (w) => (row.trackId === null ? null : (w.get(row.trackId) ?? null)));
  const isCurrent = useStore(player.now, (p) => p.id !== null && p.id === row.trackId);
  const at = useStore(player.now, (p) => (isCurrent ? p.at : 0));
  const edge = useStore(player.now, (p) => (isCurrent ? p.until : 0));
  const guess = useRef(0);

  useEffect(() => {
    const eye = new IntersectionObserver((seen) => setSeen(seen.some((s) => s.isIntersecting)), { rootMargin: '200px' });
    if (box.current !== null) eye.observe(box.current);
    return () => eye.disconnect();
  }, []);
  useEffect(() => {
    if (isSeen && track !== null) wantWaveform(track);
  }, [isSeen, track?.segments_ready, track?.state]);

  const reach = Math.max((track?.duration_ms ?? 0) / 1000, edge, isCurrent ? 0 : (peaks?.seconds ?? 0));
  guess.current = wholeLength(row, Math.max(peaks?.seconds ?? 0, edge), guess.current);
  return (
    <div ref={box}>
      <Waveform
        title={title}
        peaks={peaks}
        total={guess.current}
        reach={reach}
        at={at}
        canSeek={plays(track)}
        onSeek={(seconds) => track !== null && player.playAt(track, seconds)}
      />
    </div>
  );
}

function Failure({ row, title }: { row: Row; title: string }) {
  const { watch } = useShared();
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const track = row.track;
  if (track === null) return null;
  async function retry(id: string) {
    setBusy(true);
    try {
      await post(`/api/v1/tracks/${encodeURIComponent(id)}/retry`);
      setProblem(null);
      announce(`${title}: trying again.`);
      await watch.ask(id);
    } catch (error) {
      setProblem((error as Error).message);
    }
    setBusy(false);
  }
  return (
    <div class="failure">
      <p>{failure(track.error)}</p>
      {problem !== null && <p role="alert">{problem}</p>}
      {canRetry(track) && (
        <button type="button" disabled={isBusy} aria-label={`Retry ${title}`} onClick={() => void retry(track.id)}>
          Retry
        </button>
      )}
    </div>
  );
}

function Digest({ hex, title }: { hex: string; title: string }) {
  const [isCopied, setCopied] = useState(false);
  async function copy() {
    // Over plain http from another machine there is no clipboard; the digest can still be selected.
    await navigator.clipboard?.writeText(hex).then(() => {
      setCopied(true);
      announce(`SHA-256 of ${title} copied.`);
      setTimeout(() => setCopied(false), 2000);
    }, () => {});
  }
  return (
    <p class="digest">
      <span>SHA-256</span>
      <code title={hex} data-digest={hex}>
        {shortDigest(hex)}
      </code>
      <button type="button" class="quiet" aria-label={`${isCopied ? 'Copied' : 'Copy'} the SHA-256 of ${title}`} onClick={() => void copy()}>
        {isCopied ? <CheckIcon /> : <CopyIcon />}
        {isCopied ? 'Copied' : 'Copy'}
      </button>
    </p>
  );
}
