// A waveform that is a slider: a canvas under a real range input, so that every key and screen reader works.

import { useEffect, useRef } from 'preact/hooks';
import { columnsOf, type Peaks } from './dat';
import { clock, spokenClock } from './format';

/** One bar and the gap after it, in CSS pixels. */
const BAR_PX = 2;
const PITCH_PX = 3;
/** Below 1, so that quiet music isn't a flat line; the order of loudness stays. */
const CURVE = 0.7;

interface Props {
  title: string;
  peaks: Peaks | null;
  /** Seconds that the whole width stands for. */
  total: number;
  /** Seconds that can be sought to; less than `total` while the upload runs. */
  reach: number;
  at: number;
  canSeek: boolean;
  onSeek(seconds: number): void;
}

export function Waveform({ title, peaks, total, reach, at, canSeek, onSeek }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const paint = useRef(() => {});
  paint.current = () => {
    if (canvas.current !== null) draw(canvas.current, peaks, total, at);
  };
  useEffect(() => paint.current(), [peaks, total, at]);
  useEffect(() => {
    const again = () => paint.current();
    const size = new ResizeObserver(again);
    if (canvas.current !== null) size.observe(canvas.current);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', again);
    return () => {
      size.disconnect();
      dark.removeEventListener('change', again);
    };
  }, []);

  return (
    <div class="wave">
      <canvas ref={canvas} aria-hidden="true" />
      {canSeek && (
        <input
          type="range"
          min={0}
          max={Math.max(total, 0.1)}
          step={0.1}
          value={at}
          aria-label={`Position in ${title}`}
          aria-valuetext={`${spokenClock(at)} of ${spokenClock(reach)}${reach < total - 1 ? ' that have arrived' : ''}`}
          title={`${clock(at)} of ${clock(reach)}`}
          onInput={(e) => onSeek(Math.min(e.currentTarget.valueAsNumber, reach))}
        />
      )}
    </div>
  );
}

function draw(canvas: HTMLCanvasElement, peaks: Peaks | null, total: number, at: number): void {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  const context = canvas.getContext('2d');
  if (context === null || width === 0) return;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);

  const css = getComputedStyle(canvas);
  const [played, ahead, absent] = ['--wave-played', '--wave-ahead', '--wave-absent'].map((n) => css.getPropertyValue(n));
  const count = Math.floor(width / PITCH_PX);
  const columns = peaks === null ? new Float32Array(count).fill(-1) : columnsOf(peaks, count, total);
  const playedTo = total > 0 ? (at / total) * count : 0;
  for (let i = 0; i < count; i++) {
    const peak = columns[i] ?? -1;
    const tall = peak < 0 ? 2 : Math.max(2, peak ** CURVE * (height - 2));
    context.fillStyle = (peak < 0 ? absent : i < playedTo ? played : ahead) ?? '';
    context.fillRect(i * PITCH_PX, (height - tall) / 2, BAR_PX, tall);
  }
}
