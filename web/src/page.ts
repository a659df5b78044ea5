// What the islands share: the list, the player, the senders. Made once by main.

import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Player } from './player';
import type { Rows } from './rows';
import type { Sendings } from './sendings';
import type { Store } from './store';
import type { Watch } from './watch';

export interface Shared {
  rows: Store<Rows>;
  player: Player;
  sendings: Sendings;
  watch: Watch;
  /** Why the list couldn't be read; null when all is well. */
  problem: Store<string | null>;
}

const SharedContext = createContext<Shared | null>(null);

export const Sharing = SharedContext.Provider;

export function useShared(): Shared {
  const shared = useContext(SharedContext);
  if (shared === null) throw new Error('an island was mounted outside of main');
  return shared;
}
