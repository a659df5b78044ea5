import { expect, it } from 'vitest';
import { speedometer } from './speed';

it('says bytes per second of the last seconds only', () => {
  const s = speedometer();
  expect(s.note(0, 0)).toBeNull();
  expect(s.note(1000, 2000)).toBe(2000);
  for (let t = 2000; t <= 8000; t += 1000) s.note(t, 2000 + (t - 1000) * 4);
  expect(s.note(9000, 34_000)).toBe(4000);
});

it('forgets what a lost connection took back', () => {
  const s = speedometer();
  s.note(0, 0);
  s.note(1000, 9000);
  expect(s.note(2000, 3000)).toBeNull();
  expect(s.note(3000, 4000)).toBe(1000);
});

it('begins anew after a pause', () => {
  const s = speedometer();
  s.note(0, 0);
  s.note(1000, 9000);
  expect(s.note(61_000, 9000)).toBeNull();
  expect(s.note(62_000, 11_000)).toBe(2000);
});
