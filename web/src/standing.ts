// Where a track stands, in the words that its row shows. Pure.

import { percent } from './format';
import type { Row, Track } from './track';

export type Tone = 'moving' | 'good' | 'bad' | 'still';

export interface Standing {
  text: string;
  tone: Tone;
}

export function standing({ track, sending }: Row): Standing {
  if (track?.state === 'failed') return { text: 'Failed', tone: 'bad' };
  if (track?.state === 'ready') return { text: 'Verified', tone: 'good' };
  const playable = track?.state === 'playable';
  if (sending !== null && sending.phase !== 'sent') {
    const done = `${percent(sending.durable, sending.size)} %`;
    switch (sending.phase) {
      case 'queued':
        return { text: 'Waiting for its turn', tone: 'still' };
      case 'sending':
        return { text: playable ? 'Uploading, plays already' : 'Uploading', tone: 'moving' };
      case 'paused':
        return { text: `Paused at ${done}`, tone: 'still' };
      case 'needs_file':
        return { text: `Unfinished at ${done}`, tone: 'still' };
      case 'stopped':
        return { text: `Stopped at ${done}`, tone: 'bad' };
    }
  }
  if (track !== null && !track.stored && track.upload !== null && sending === null) return elsewhere(track.upload);
  if (track === null || !track.stored) return { text: 'Checking every byte', tone: 'moving' };
  return { text: playable ? 'Encoding, plays already' : 'Encoding', tone: 'moving' };
}

/** An upload that another window, the command line or another program is sending, or has left. */
function elsewhere(upload: { offset: number; length: number | null; state: string }): Standing {
  if (upload.state === 'sealing') return { text: 'Checking every byte', tone: 'moving' };
  const done = upload.length === null ? '' : ` ${percent(upload.offset, upload.length)} %`;
  return { text: `Arriving${done}`, tone: 'still' };
}

const REASONS: Record<string, string> = {
  unsupported_media: 'This isn’t an audio format that we can play.',
  empty_media: 'The file is empty.',
  digest_mismatch: 'What arrived isn’t what was announced, so nothing was published. Upload it again.',
  upload_aborted: 'The upload was cancelled.',
  upload_expired: 'The upload was left unfinished for too long.',
  upload_lost: 'The upload is gone. Upload it again.',
  worker_crashed: 'The encoder gave up on this file.',
};

/** The file's own fault: another try would end as this one did. */
const HOPELESS: ReadonlySet<string> = new Set([
  'unsupported_media', 'index_at_end', 'corrupt_media', 'empty_media', 'too_long', 'too_many_channels', 'unsupported_rate',
]);

/** Whether it makes sense to encode it again: its bytes are here, and it wasn't their fault. */
export const canRetry = (t: Track): boolean => t.state === 'failed' && t.stored && !HOPELESS.has(t.error?.code ?? '');

/** Why a track failed: the server's sentence, else one of ours. */
export function failure(error: { code: string; detail: string | null } | null): string {
  if (error === null) return 'No reason was given.';
  const sentence = error.detail ?? REASONS[error.code] ?? error.code;
  const capital = sentence.charAt(0).toUpperCase() + sentence.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/**
 * How long the whole will be, in seconds: known at the end, until then judged by how much sound the bytes
 * that arrived have given. Never shorter than what is there; the last guess stands while it is within 3 %.
 */
export function wholeLength(row: Row, heard: number, lastGuess: number): number {
  const told = (row.track?.duration_ms ?? 0) / 1000;
  if (row.track?.state === 'ready') return told;
  const reach = Math.max(told, heard);
  const size = row.sending?.size ?? row.track?.upload?.length ?? 0;
  const durable = row.sending?.durable ?? row.track?.upload?.offset ?? 0;
  if (size <= 0 || durable <= 0 || row.track?.stored === true) return reach;
  const guess = Math.max(reach, (heard * size) / durable);
  const isClose = lastGuess >= reach && Math.abs(guess - lastGuess) < lastGuess * 0.03;
  return isClose ? lastGuess : guess;
}
