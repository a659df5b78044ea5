// Keeps the list true: the first page, then each unfinished track by its event stream, or by asking now and then.
//
// Two streams at most, for the tracks that this browser is sending or playing: a browser has six connections
// to one server, and an idle stream holds one as surely as an upload does. All others are asked in turn.

import { readJson, Refused } from './http';
import { allKept, forget } from './kept';
import { after, type Happened, type Rows } from './rows';
import type { Store } from './store';
import { isSettled, type Page, type Row, type Track } from './track';

const STREAMS_MAX = 2;
const PAGE_ITEMS = 50;
/** Between two rounds of asking; a track's state is news for a person, not for a machine. */
const ASK_MS = 3000;

export interface Watch {
  more(): Promise<void>;
  /** Asks about one track at once, as after a retry. */
  ask(id: string): Promise<void>;
}

export function watch(store: Store<Rows>, playing: () => string | null, problem: (text: string | null) => void): Watch {
  const streams = new Map<string, EventSource>();
  const happen = (event: Happened) => store.write(after(store.read(), event));

  function unfinished(): Row[] {
    const open = store.read().rows.filter((r) => r.trackId !== null && !(r.track !== null && isSettled(r.track)));
    const rank = (r: Row) => (r.sending?.phase === 'sending' ? 0 : r.trackId === playing() ? 1 : r.sending?.phase === 'sent' ? 2 : 3);
    return open.sort((a, b) => rank(a) - rank(b));
  }

  /** Opens and closes streams until they fit the list. A hidden page that sends nothing needs none. */
  function settle(): void {
    const sends = store.read().rows.some((r) => r.sending?.phase === 'sending');
    const wanted = document.hidden && !sends ? [] : unfinished().slice(0, STREAMS_MAX).flatMap((r) => r.trackId ?? []);
    for (const [id, stream] of streams) {
      if (wanted.includes(id)) continue;
      stream.close();
      streams.delete(id);
    }
    for (const id of wanted) if (!streams.has(id)) listen(id);
  }

  function listen(id: string): void {
    const stream = new EventSource(`/api/v1/tracks/${encodeURIComponent(id)}/events`);
    streams.set(id, stream);
    stream.addEventListener('track', (event) => {
      happen({ what: 'track', track: JSON.parse((event as MessageEvent<string>).data) as Track });
    });
  }

  async function ask(id: string): Promise<void> {
    try {
      happen({ what: 'track', track: await readJson<Track>(`/api/v1/tracks/${encodeURIComponent(id)}`) });
    } catch (error) {
      if (error instanceof Refused && error.status === 404) vanished(id);
    }
  }

  /** The server doesn't know the track: its upload expired or was ended elsewhere. */
  function vanished(id: string): void {
    for (const kept of allKept()) if (kept.trackId === id) forget(kept.id);
    for (const row of store.read().rows) {
      if (row.trackId === id && row.sending?.phase !== 'sending') happen({ what: 'gone', key: row.key });
    }
  }

  async function round(): Promise<void> {
    if (!document.hidden) {
      for (const row of unfinished()) {
        const silent = row.trackId !== null && streams.get(row.trackId)?.readyState !== EventSource.OPEN;
        if (silent && row.trackId !== null) await ask(row.trackId);
      }
    }
    setTimeout(() => void round(), ASK_MS);
  }

  async function more(): Promise<void> {
    const cursor = store.read().nextCursor;
    const query = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    try {
      happen({ what: 'page', page: await readJson<Page>(`/api/v1/tracks?limit=${PAGE_ITEMS}${query}`) });
      problem(null);
    } catch (error) {
      problem((error as Error).message);
    }
  }

  store.watch(settle);
  document.addEventListener('visibilitychange', settle);
  void more().then(() => round());
  return { more, ask };
}
