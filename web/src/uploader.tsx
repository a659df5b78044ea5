// Where files come in: a drop on the zone or anywhere on the page, or the button.

import { useEffect, useRef, useState } from 'preact/hooks';
import { droppedFiles } from './dropped';
import { UploadIcon } from './icons';
import { useShared } from './page';
import { useStore } from './store';

export function Uploader() {
  const { sendings, rows } = useShared();
  const input = useRef<HTMLInputElement>(null);
  const [isOver, setOver] = useState(false);
  const isFirst = useStore(rows, (s) => s.isLoaded && s.rows.length === 0);

  useEffect(() => {
    const carriesFiles = (e: DragEvent) => e.dataTransfer?.types.includes('Files') === true;
    const over = (e: DragEvent) => {
      if (!carriesFiles(e)) return;
      e.preventDefault();
      setOver(true);
    };
    const leave = (e: DragEvent) => {
      if (e.relatedTarget === null) setOver(false);
    };
    const drop = (e: DragEvent) => {
      if (!carriesFiles(e) || e.dataTransfer === null) return;
      e.preventDefault();
      setOver(false);
      void droppedFiles(e.dataTransfer).then((files) => sendings.add(files));
    };
    addEventListener('dragover', over);
    addEventListener('dragleave', leave);
    addEventListener('drop', drop);
    return () => {
      removeEventListener('dragover', over);
      removeEventListener('dragleave', leave);
      removeEventListener('drop', drop);
    };
  }, [sendings]);

  return (
    <div class="drop" data-over={isOver} data-first={isFirst}>
      <UploadIcon />
      <p class="drop-call">{isOver ? 'Let go.' : 'Drop tracks or a whole folder here'}</p>
      <p class="drop-more">WAV, AIFF, FLAC, ALAC, MP3, Ogg, Opus, AAC. Play lights up within seconds.</p>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        id="files"
        accept="audio/*,.flac,.aif,.aiff,.caf,.w64,.wv,.mka,.m4a,.opus"
        onChange={(e) => {
          void sendings.add([...(e.currentTarget.files ?? [])]);
          e.currentTarget.value = '';
        }}
      />
      <button type="button" class="primary" onClick={() => input.current?.click()}>
        Choose files
      </button>
    </div>
  );
}
