// What a listener hears, as numbers: the page's own audio element goes into an AudioWorklet that keeps every sample.
// The context runs at the file's rate, so nothing is resampled on the way.

const WORKLET = `registerProcessor('keep', class extends AudioWorkletProcessor {
  constructor() { super(); this.held = []; }
  process([input]) {
    const channel = input[0];
    if (channel !== undefined) this.held.push(channel.slice());
    if (this.held.length >= 64) this.flush();
    return true;
  }
  flush() {
    const all = new Float32Array(this.held.length * 128);
    this.held.forEach((part, i) => all.set(part, i * 128));
    this.held = [];
    this.port.postMessage(all, [all.buffer]);
  }
});`;

/** From `listen` on what the page plays is kept. The page's policy allows no such script: the browser context must bypass it. */
export async function keepSound(page, rate) {
  await page.evaluate(async ({ rate, worklet }) => {
    const context = new AudioContext({ sampleRate: rate, latencyHint: 'playback' });
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], { type: 'text/javascript' })));
    const node = new AudioWorkletNode(context, 'keep', { numberOfInputs: 1, outputChannelCount: [2] });
    globalThis.__kept = [];
    node.port.onmessage = ({ data }) => globalThis.__kept.push(data);
    context.createMediaElementSource(document.querySelector('audio')).connect(node).connect(context.destination);
    // As long as it is suspended the element's time stands still.
    await context.suspend();
    globalThis.__context = context;
  }, { rate, worklet: WORKLET });
}

/** Sound goes on; until the first call nothing is lost, it only waits. */
export const listen = (page) => page.evaluate(() => globalThis.__context.resume());

/** What was kept until now, behind some silence. */
export async function keptSound(page) {
  const text = await page.evaluate(async () => {
    // What is under way in the worklet, and in the queue to here, still belongs to it.
    const before = globalThis.__kept.length;
    while (globalThis.__kept.length < before + 2) await new Promise((done) => setTimeout(done, 20));
    const all = new Blob([new Float32Array(4096), ...globalThis.__kept]);
    const reader = new FileReader();
    const read = new Promise((done) => (reader.onload = done));
    reader.readAsDataURL(all);
    await read;
    return reader.result.slice(reader.result.indexOf(',') + 1);
  });
  const bytes = Buffer.from(text, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** How many samples were kept. */
export const keptLength = (page) => page.evaluate(() => globalThis.__kept.reduce((n, part) => n + part.length, 0));
