// Keys that work anywhere on the page: space plays and pauses, the arrows go five seconds back and on, with Shift a track.
// A key that means something to the element in focus keeps that meaning.

import type { Player } from './player';

const STEP_SECONDS = 5;

export function listenForKeys(player: Player): void {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || isTaken(event)) return;
    const { id, at } = player.now.read();
    if (id === null) return;
    if (event.key === ' ') player.toggleCurrent();
    else if (event.key === 'ArrowLeft' && event.shiftKey) player.previous();
    else if (event.key === 'ArrowRight' && event.shiftKey) player.next();
    else if (event.key === 'ArrowLeft') player.seek(at - STEP_SECONDS);
    else if (event.key === 'ArrowRight') player.seek(at + STEP_SECONDS);
    else return;
    event.preventDefault();
  });
}

function isTaken(event: KeyboardEvent): boolean {
  const target = event.target instanceof Element ? event.target : null;
  const takesArrows = target?.closest('input, select, textarea, [contenteditable]') != null;
  const takesSpace = takesArrows || target?.closest('button, a, summary, label') != null;
  return event.key === ' ' ? takesSpace : takesArrows;
}
