// What a screen reader says by itself: one polite line, at most one change every five seconds, the newest news.

import { storeOf } from './store';

const BETWEEN_MS = 5000;

export const spoken = storeOf('');

let next: string | null = null;
let quietUntil = 0;
let timer: ReturnType<typeof setTimeout> | null = null;

export function announce(text: string): void {
  next = text;
  if (timer === null) timer = setTimeout(speak, Math.max(0, quietUntil - Date.now()));
}

function speak(): void {
  timer = null;
  if (next === null) return;
  spoken.write(next);
  next = null;
  quietUntil = Date.now() + BETWEEN_MS;
}
