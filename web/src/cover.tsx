// The picture that came in a track's file, small; nothing where there is none.

import type { Track } from './track';

/** As large as a card shows it on a fine screen. */
const PIXELS = 150;

export function Cover({ track }: { track: Track | null }) {
  const pictures = track?.artwork ?? [];
  const picture = pictures.filter((p) => Math.max(p.width, p.height) >= PIXELS).at(-1) ?? pictures[0];
  if (picture === undefined) return null;
  return <img class="cover" src={picture.url} width={picture.width} height={picture.height} alt="" loading="lazy" decoding="async" />;
}
