// A TCP proxy whose way up is as slow as told. The browser's own throttling doesn't hold back uploads evenly;
// a line that reads slowly does, for every request alike. The way down is free.

import net from 'node:net';

const TICK_MS = 20;

/** `{port, setRate(bytesPerSecond), cut(), up(), close()}`; a rate of Infinity lets everything through. */
export async function slowLine(targetPort, targetHost = '127.0.0.1') {
  let rate = Infinity;
  let up = 0;
  const pairs = new Set();
  const server = net.createServer((client) => {
    const target = net.connect(targetPort, targetHost);
    const pair = { client, target, waiting: [] };
    pairs.add(pair);
    client.on('data', (chunk) => {
      if (rate === Infinity && pair.waiting.length === 0) {
        up += chunk.length;
        if (!target.write(chunk)) pause(client, target);
        return;
      }
      pair.waiting.push(chunk);
      client.pause();
    });
    target.pipe(client);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      target.destroy();
    };
    client.on('error', end).on('close', end);
    target.on('error', end).on('close', end);
  });
  let last = performance.now();
  const tick = setInterval(() => {
    // By the clock, as a timer that is late would slow the line down; capped, as a pause is no credit.
    const elapsed = Math.min(100, performance.now() - last);
    last = performance.now();
    let budget = rate === Infinity ? Infinity : Math.floor((rate * elapsed) / 1000);
    for (const pair of pairs) {
      while (pair.waiting.length > 0 && budget > 0) {
        const chunk = pair.waiting.shift();
        const part = chunk.subarray(0, Math.min(chunk.length, budget));
        budget -= part.length;
        up += part.length;
        pair.target.write(part);
        if (part.length < chunk.length) pair.waiting.unshift(chunk.subarray(part.length));
      }
      if (pair.waiting.length === 0) pair.client.resume();
    }
  }, TICK_MS);
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: server.address().port,
    setRate: (bytesPerSecond) => (rate = bytesPerSecond),
    /** Breaks every connection, as a lost line does. */
    cut: () => pairs.forEach((p) => p.client.destroy()),
    up: () => up,
    close() {
      clearInterval(tick);
      pairs.forEach((p) => p.client.destroy());
      server.close();
    },
  };
}

function pause(client, target) {
  client.pause();
  target.once('drain', () => client.resume());
}
