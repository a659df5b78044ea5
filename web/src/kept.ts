// Unfinished uploads, remembered in this browser so that a reload, a crash or a reboot loses nothing.
//
// A file is recognised by its name, its size and a digest of three samples, so a copy with another date still
// goes on, and a file that was edited in between doesn't get glued to the old one's first half.
// Absent: the file itself. A browser doesn't give it back after a reload; the page asks for it.

import type { PreviousUpload, UrlStorage } from 'tus-js-client';

const PREFIX = 'millrace.upload.';
/** Three such samples (start, middle, end) tell two takes of one recording apart; reading them is instant. */
const SAMPLE_BYTES = 64 * 1024;

export interface Kept {
  id: string;
  fingerprint: string;
  url: string;
  size: number;
  name: string;
  trackId: string | null;
  createdAt: string;
}

export function allKept(): Kept[] {
  const found: Kept[] = [];
  for (let i = 0; i < localStorage.length; i++) {
    const key = localStorage.key(i);
    if (key?.startsWith(PREFIX)) {
      const kept = parsed(localStorage.getItem(key));
      if (kept !== null) found.push(kept);
    }
  }
  return found.sort((a, b) => b.createdAt.localeCompare(a.createdAt));
}

export function forget(id: string): void {
  localStorage.removeItem(PREFIX + id);
}

/** The storage of the upload `id` for tus; `trackId` is asked when the server has just answered the creation. */
export function keeping(id: string, name: string, trackId: () => string | null): UrlStorage {
  return {
    findAllUploads: async () => allKept().map(previous),
    findUploadsByFingerprint: async (print) => allKept().filter((k) => k.fingerprint === print).map(previous),
    removeUpload: async (key) => forget(key),
    addUpload: async (fingerprint, upload) => {
      const kept: Kept = {
        id,
        fingerprint,
        url: upload.uploadUrl ?? '',
        size: upload.size ?? 0,
        name,
        trackId: trackId(),
        createdAt: new Date().toISOString(),
      };
      try {
        localStorage.setItem(PREFIX + id, JSON.stringify(kept));
      } catch {
        // Storage is full or forbidden: this upload can't be resumed after a reload, and goes on all the same.
      }
      return id;
    },
  };
}

export async function fingerprint(file: File): Promise<string> {
  const facts = [file.name, file.size];
  // Over plain http from another machine the browser offers no digest; then the date must do.
  if (globalThis.crypto?.subtle === undefined) return [...facts, file.lastModified].join('/');
  const middle = Math.floor(file.size / 2);
  const samples = new Blob([
    file.slice(0, SAMPLE_BYTES),
    file.slice(middle, middle + SAMPLE_BYTES),
    file.slice(Math.max(0, file.size - SAMPLE_BYTES)),
  ]);
  const digest = await crypto.subtle.digest('SHA-256', await samples.arrayBuffer());
  return [...facts, hex(new Uint8Array(digest).subarray(0, 16))].join('/');
}

export function randomId(): string {
  return hex(crypto.getRandomValues(new Uint8Array(12)));
}

const hex = (b: Uint8Array): string => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');

export const previous = (k: Kept): PreviousUpload => ({
  size: k.size,
  metadata: {},
  creationTime: k.createdAt,
  urlStorageKey: k.id,
  uploadUrl: k.url,
  parallelUploadUrls: null,
});

function parsed(text: string | null): Kept | null {
  try {
    const k = JSON.parse(text ?? '') as Kept;
    return typeof k.id === 'string' && typeof k.url === 'string' && typeof k.name === 'string' && k.url !== '' ? k : null;
  } catch {
    return null;
  }
}
