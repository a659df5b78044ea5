// The few signs that the page uses, drawn in the text's colour. Buttons carry the words; these are silent.

const icon = (path: string) => () => (
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path d={path} />
  </svg>
);

export const PlayIcon = icon('M8 5.2v13.6c0 .8.9 1.3 1.6.8l10.2-6.8c.6-.4.6-1.2 0-1.6L9.6 4.4C8.9 3.9 8 4.4 8 5.2z');
export const PauseIcon = icon('M7 5h3.4v14H7zM13.6 5H17v14h-3.4z');
export const NextIcon = icon('M6 5.6v12.8c0 .7.8 1.1 1.4.7L16 13v6h2V5h-2v6L7.4 4.9C6.8 4.5 6 4.9 6 5.6z');
export const PreviousIcon = icon('M18 5.6v12.8c0 .7-.8 1.1-1.4.7L8 13v6H6V5h2v6l8.6-6.1C17.2 4.5 18 4.9 18 5.6z');
export const CloseIcon = icon('M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6l5.6-5.6L5 6.4z');
export const CheckIcon = icon('M9.6 17.6 4.4 12.4l1.5-1.5 3.7 3.7 8.5-8.5 1.5 1.5z');
export const CopyIcon = icon('M8 4h10a1 1 0 0 1 1 1v11h-2V6H8zM5 8h9a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1zm1 2v8h7v-8z');
export const UploadIcon = icon('M11 16V8.8l-3 3-1.4-1.4L12 5l5.4 5.4-1.4 1.4-3-3V16zM5 18h14v2H5z');
export const VolumeIcon = icon('M4 9.5h3.6L12 5.6v12.8l-4.4-3.9H4zM14.5 8.4a4.6 4.6 0 0 1 0 7.2l-1-1.3a3 3 0 0 0 0-4.6z');
