import { expect, it } from 'vitest';
import { neighbour } from './queue';
import type { Row, Track } from './track';

const row = (id: string, state: string | null): Row => ({ key: id, trackId: id, track: state === null ? null : ({ id, state } as Track), sending: null });
const rows = [row('a', 'ready'), row('b', 'playable'), row('c', null), row('d', 'ready'), row('e', 'failed'), row('f', 'ready')];

it('goes through the ready tracks of the list', () => {
  expect(neighbour(rows, 'a', 1)?.id).toBe('d');
  expect(neighbour(rows, 'b', -1)?.id).toBe('a');
  expect(neighbour(rows, 'd', 1)?.id).toBe('f');
  expect(neighbour(rows, 'a', 1, new Set(['d']))?.id).toBe('f');
  for (const end of [neighbour(rows, 'f', 1), neighbour(rows, 'a', -1), neighbour(rows, 'x', 1), neighbour(rows, null, 1)]) expect(end).toBeNull();
});
