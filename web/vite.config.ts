// How the page's scripts and styles are built: hashed names, a manifest, one entry.
//
// Promise: the same sources and lockfile give the same bytes. Nothing here reads the clock, the host or git.

import { defineConfig } from 'vite';

export default defineConfig({
  base: '/assets/',
  // The client as written, not its ES5 translation: a third smaller, and our target is newer anyway.
  resolve: { alias: [{ find: /^tus-js-client$/, replacement: 'tus-js-client/lib/browser/index.js' }] },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  build: {
    target: 'es2022',
    outDir: 'dist',
    assetsDir: '',
    manifest: 'manifest.json',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rollupOptions: { input: 'src/main.tsx' },
  },
  test: { include: ['src/**/*.test.ts'] },
} as Parameters<typeof defineConfig>[0]);
