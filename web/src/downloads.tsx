// A track's files to keep: a small menu that any keyboard opens, and a link that the server signs when one is chosen.

import { useState } from 'preact/hooks';
import { announce } from './announce';
import { readJson } from './http';
import type { Track } from './track';

/** What is made of a lossless source, by the API's names. */
const MADE: [string, string][] = [
  ['flac', 'FLAC'],
  ['wav', 'WAV'],
  ['mp3', 'MP3 (V0)'],
  ['aac', 'AAC (256k)'],
  ['opus', 'Opus (160k)'],
];

export function Downloads({ track, title }: { track: Track; title: string }) {
  const [problem, setProblem] = useState<string | null>(null);
  const formats = [['original', 'Original'], ...(track.lossless === true ? MADE : [])] as [string, string][];
  async function fetchFile(format: string, name: string) {
    try {
      const { url, filename } = await readJson<{ url: string; filename: string }>(
        `/api/v1/tracks/${encodeURIComponent(track.id)}/download?format=${format}`,
      );
      // A download that fails is the browser's to tell; it never replaces the page.
      const link = Object.assign(document.createElement('a'), { href: url, download: filename });
      link.click();
      setProblem(null);
      announce(`${title}: ${name} is coming.`);
    } catch (error) {
      setProblem((error as Error).message);
    }
  }
  return (
    <details class="downloads">
      <summary aria-label={`Download ${title}`}>Download</summary>
      <ul>
        {formats.map(([format, name]) => (
          <li key={format}>
            <button type="button" class="quiet" aria-label={`${name} of ${title}`} onClick={() => void fetchFile(format, name)}>
              {name}
            </button>
          </li>
        ))}
      </ul>
      {problem !== null && <p role="alert">{problem}</p>}
    </details>
  );
}
