// Brings the server's page to life: three islands that share one list and one player.

import './style.css';
import './tracks.css';
import './player.css';
import './narrow.css';
import { render, type ComponentChildren } from 'preact';
import { announce, spoken } from './announce';
import { listenForKeys } from './keys';
import { Library } from './library';
import { Sharing, type Shared } from './page';
import { Player } from './player';
import { PlayerBar } from './playerbar';
import { neighbour } from './queue';
import { NOTHING } from './rows';
import { Sendings } from './sendings';
import { storeOf, useStore } from './store';
import { plays, type Track } from './track';
import { Uploader } from './uploader';
import { watch } from './watch';

const rows = storeOf(NOTHING);
const problem = storeOf<string | null>(null);

function start(): void {
  const audio = document.createElement('audio');
  audio.preload = 'auto';
  document.body.append(audio);
  const player = new Player(audio, (id, step, skip) => neighbour(rows.read().rows, id, step, skip));
  const shared: Shared = {
    rows,
    player,
    problem,
    sendings: new Sendings(rows, announce),
    watch: watch(rows, () => player.now.read().id, (text) => problem.write(text)),
  };
  tellNews((track) => player.learn(track));
  listenForKeys(player);
  mount('uploader', shared, <Uploader />);
  mount('library', shared, <Library />);
  mount('player', shared, <PlayerBar />);
  mount('said', shared, <Said />);
}

function mount(id: string, shared: Shared, island: ComponentChildren): void {
  const place = document.getElementById(id);
  if (place === null) return;
  // The server's read-only version of the same thing makes room.
  place.replaceChildren();
  render(<Sharing value={shared}>{island}</Sharing>, place);
}

function Said() {
  return <>{useStore(spoken, (text) => text)}</>;
}

/** Says a track's milestones as they come, and keeps the player's copy of its track fresh. */
function tellNews(learn: (track: Track) => void): void {
  const told = new Map<string, string>();
  let isFirst = true;
  rows.watch(() => {
    const { rows: list, isLoaded } = rows.read();
    for (const { track } of list) {
      if (track === null) continue;
      learn(track);
      const mark = track.state === 'playable' && !plays(track) ? 'ingesting' : track.state;
      if (told.get(track.id) === mark) continue;
      told.set(track.id, mark);
      if (isFirst) continue;
      if (mark === 'playable') announce(`${track.title} can be played now, while it uploads.`);
      if (mark === 'ready') announce(`${track.title} is verified and complete.`);
      if (mark === 'failed') announce(`${track.title} failed.`);
    }
    if (isLoaded) isFirst = false;
  });
}

if (document.getElementById('library') !== null) start();
