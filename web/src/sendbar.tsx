// How an upload goes: what has left this computer, what is safe on the server, and its buttons.

import { useRef, useState } from 'preact/hooks';
import { bytes, left, percent } from './format';
import { useShared } from './page';
import type { Row, Sending } from './track';

export function SendBar({ row, title }: { row: Row; title: string }) {
  const sending = row.sending;
  if (sending === null) return null;
  const durable = percent(sending.durable, sending.size);
  return (
    <div class="send">
      <div
        class="bar"
        role="progressbar"
        aria-label={`Upload of ${title}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={durable}
        aria-valuetext={`${durable} percent safe on the server`}
      >
        <span class="bar-sent" style={{ transform: `scaleX(${share(sending.sent, sending.size)})` }} />
        <span class="bar-durable" style={{ transform: `scaleX(${share(sending.durable, sending.size)})` }} />
      </div>
      <div class="send-line">
        <Numbers sending={sending} />
        <Buttons row={row} sending={sending} title={title} />
      </div>
      {sending.error !== null && <p class="send-error">{sending.error}</p>}
    </div>
  );
}

function Numbers({ sending }: { sending: Sending }) {
  const { sent, durable, size, speed, phase } = sending;
  const rest = phase === 'sending' && speed !== null && speed > 0 ? left((size - sent) / speed) : '';
  return (
    <p class="numbers">
      <strong>{percent(durable, size)} %</strong>
      <span class="key key-sent" data-sent={sent}>
        {bytes(sent)} sent
      </span>
      <span class="key key-durable" data-durable={durable}>
        {bytes(durable)} safe on the server
      </span>
      {phase === 'sending' && speed !== null && <span class="aside">{bytes(speed)}/s</span>}
      {rest !== '' && <span class="aside">{rest}</span>}
    </p>
  );
}

function Buttons({ row, sending, title }: { row: Row; sending: Sending; title: string }) {
  const { sendings } = useShared();
  const { phase } = sending;
  return (
    <div class="buttons">
      {(phase === 'sending' || phase === 'queued') && (
        <button type="button" aria-label={`Pause the upload of ${title}`} onClick={() => sendings.pause(row.key)}>
          Pause
        </button>
      )}
      {(phase === 'paused' || phase === 'stopped') && (
        <button type="button" class="primary" aria-label={`Resume the upload of ${title}`} onClick={() => sendings.resume(row.key)}>
          Resume
        </button>
      )}
      {phase === 'needs_file' && <ChooseAgain row={row} title={title} />}
      {phase !== 'sent' && <Cancel row={row} sending={sending} title={title} />}
    </div>
  );
}

function ChooseAgain({ row, title }: { row: Row; title: string }) {
  const { sendings } = useShared();
  const input = useRef<HTMLInputElement>(null);
  const [isOther, setOther] = useState(false);
  async function given(files: FileList | null) {
    const file = files?.[0];
    if (file !== undefined) setOther(!(await sendings.giveFile(row.key, file)));
    if (input.current !== null) input.current.value = '';
  }
  return (
    <>
      {isOther && <span role="alert">That is another file. Choose “{row.sending?.name}”.</span>}
      <input ref={input} type="file" hidden data-for={row.key} onChange={(e) => void given(e.currentTarget.files)} />
      <button type="button" class="primary" aria-label={`Choose the file to go on with ${title}`} onClick={() => input.current?.click()}>
        Choose the file to go on
      </button>
    </>
  );
}

/** Two steps, because what has arrived is thrown away. */
function Cancel({ row, sending, title }: { row: Row; sending: Sending; title: string }) {
  const { sendings } = useShared();
  const [isAsking, setAsking] = useState(false);
  const question = `Discard ${bytes(sending.durable)}?`;
  return (
    <button
      type="button"
      class={isAsking ? 'danger' : 'quiet'}
      aria-label={isAsking ? `${question} The upload of ${title} ends.` : `Cancel the upload of ${title}`}
      onBlur={() => setAsking(false)}
      onClick={() => (isAsking ? void sendings.cancel(row.key) : setAsking(true))}
    >
      {isAsking ? question : 'Cancel'}
    </button>
  );
}

const share = (part: number, whole: number): number => (whole <= 0 ? 1 : Math.min(1, part / whole));
