// The light build carries no types of its own; its API is the full one's.

declare module 'hls.js/light' {
  export * from 'hls.js';
  export { default } from 'hls.js';
}
