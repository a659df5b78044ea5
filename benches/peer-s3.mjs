// @tus/server with its S3 store, as its documentation shows it. Prints its address when it listens.

import { createServer } from 'node:http';

import { S3Store } from '@tus/s3-store';
import { Server } from '@tus/server';

const [endpoint, region, bucket, accessKeyId, secretAccessKey, partSize] = process.argv.slice(2);
const datastore = new S3Store({
  partSize: Number(partSize),
  s3ClientConfig: { endpoint, region, bucket, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true },
});
const tus = new Server({ path: '/files', datastore });
const server = createServer(tus.handle.bind(tus));
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', () => console.log(`ready: http://127.0.0.1:${server.address().port}/`));
