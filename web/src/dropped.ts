// The files of a drop, folders opened. Inside a folder only sound is taken: covers and notes come along with albums.

const SOUND = /\.(wav|wave|w64|rf64|aiff?|aifc|caf|flac|m4a|mp4|alac|mp3|ogg|oga|opus|aac|wv|mka|webm)$/i;
/** A dropped disk is a slip of the hand, not an album. */
const FILES_MAX = 2000;

export async function droppedFiles(data: DataTransfer): Promise<File[]> {
  // The list is emptied when the event ends, so everything is taken out of it before the first wait.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some((e) => e?.isDirectory)) return [...data.files];
  const found: File[] = [];
  for (const entry of entries) if (entry !== null) await gather(entry, false, found);
  return found;
}

async function gather(entry: FileSystemEntry, inFolder: boolean, found: File[]): Promise<void> {
  if (found.length >= FILES_MAX) return;
  if (entry.isFile) {
    if (!inFolder || SOUND.test(entry.name)) found.push(await fileOf(entry as FileSystemFileEntry));
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed));
    if (batch.length === 0) return;
    for (const e of batch.sort((a, b) => a.name.localeCompare(b.name))) await gather(e, true, found);
  }
}

const fileOf = (entry: FileSystemFileEntry): Promise<File> => new Promise((done, failed) => entry.file(done, failed));
