// A TCP proxy whose way up is as slow as told. The browser's own throttling doesn't hold back uploads evenly;
// a line that reads slowly does, for every request alike. The way down is free.

import net from 'node:net';

const TICK_MS = 20;
/** Held back per connection before it isn't read any more. */
const HOLD_BYTES = 256 * 1024;
const TURN_BYTES = 4096;

/** `{port, setRate(bytesPerSecond), cut(), up(), close()}`; a rate of Infinity lets everything through. */
export async function slowLine(targetPort, targetHost = '127.0.0.1') {
  let rate = Infinity;
  let up = 0;
  const pairs = new Set();
  const server = net.createServer((client) => {
    const target = net.connect(targetPort, targetHost);
    const pair = { client, target, waiting: [], held: 0 };
    pairs.add(pair);
    client.on('data', (chunk) => {
      if (rate === Infinity && pair.waiting.length === 0) {
        up += chunk.length;
        if (!target.write(chunk)) pause(client, target);
        return;
      }
      pair.waiting.push(chunk);
      pair.held += chunk.length;
      if (pair.held >= HOLD_BYTES) client.pause();
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
    // In turn, a little each, as packets of several connections share a line.
    for (let sent = true; sent && budget > 0; ) {
      sent = false;
      for (const pair of pairs) {
        const chunk = pair.waiting.shift();
        if (chunk === undefined) continue;
        if (budget <= 0) {
          pair.waiting.unshift(chunk);
          continue;
        }
        const part = chunk.subarray(0, Math.min(chunk.length, budget, TURN_BYTES));
        budget -= part.length;
        pair.held -= part.length;
        up += part.length;
        sent = true;
        pair.target.write(part);
        if (part.length < chunk.length) pair.waiting.unshift(chunk.subarray(part.length));
      }
    }
    for (const pair of pairs) if (pair.held < HOLD_BYTES) pair.client.resume();
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
