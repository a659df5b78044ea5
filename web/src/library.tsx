// The list of own tracks, newest first; those on their way stand on top.

import { Card } from './card';
import { useShared } from './page';
import { useStore } from './store';

export function Library() {
  const { rows, watch, problem } = useShared();
  const keys = useStore(rows, (s) => s.rows.map((r) => r.key).join('\n'));
  const cursor = useStore(rows, (s) => s.nextCursor);
  const isLoaded = useStore(rows, (s) => s.isLoaded);
  const trouble = useStore(problem, (p) => p);
  const list = keys === '' ? [] : keys.split('\n');
  return (
    <>
      {trouble !== null && (
        <p class="trouble" role="alert">
          {trouble}{' '}
          <button type="button" onClick={() => void watch.more()}>
            Try again
          </button>
        </p>
      )}
      {isLoaded && list.length === 0 && <p class="empty">Nothing here yet. Your first track appears the moment its first byte arrives.</p>}
      <ol class="cards">
        {list.map((key) => (
          <Card key={key} id={key} />
        ))}
      </ol>
      {cursor !== null && (
        <button type="button" class="more" onClick={() => void watch.more()}>
          Show more
        </button>
      )}
    </>
  );
}
