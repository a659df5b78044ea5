// @tus/server with its file store, as its documentation shows it. Prints its address when it listens.

import { createServer } from 'node:http';

import { FileStore } from '@tus/file-store';
import { Server } from '@tus/server';

const tus = new Server({ path: '/files', datastore: new FileStore({ directory: process.argv[2] }) });
const server = createServer(tus.handle.bind(tus));
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', () => console.log(`ready: http://127.0.0.1:${server.address().port}/`));
