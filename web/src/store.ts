// A value that components watch. Thirty lines, so no library.

import { useEffect, useReducer, useRef } from 'preact/hooks';

export interface Store<S> {
  read(): S;
  write(next: S): void;
  /** Calls back after each change until the returned function is called. */
  watch(seen: () => void): () => void;
}

export function storeOf<S>(first: S): Store<S> {
  let now = first;
  const watchers = new Set<() => void>();
  return {
    read: () => now,
    write(next) {
      if (next === now) return;
      now = next;
      for (const seen of [...watchers]) seen();
    },
    watch(seen) {
      watchers.add(seen);
      return () => watchers.delete(seen);
    },
  };
}

/** What `pick` takes from the store; the component renders again only when that has changed. */
export function useStore<S, T>(store: Store<S>, pick: (state: S) => T): T {
  const [, again] = useReducer((n: number, _: void) => n + 1, 0);
  const picked = pick(store.read());
  const last = useRef({ pick, picked });
  last.current = { pick, picked };
  useEffect(() => {
    const check = () => {
      if (!Object.is(last.current.pick(store.read()), last.current.picked)) again();
    };
    check();
    return store.watch(check);
  }, [store]);
  return picked;
}
