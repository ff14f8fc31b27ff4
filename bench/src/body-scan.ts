/**
 * What finding the model in a request body costs, by scanning and by parsing: the best of many runs, in microseconds.
 *
 *   npm run bench:body-scan -w @claude-gateway/bench
 */
import { conversation } from './load.ts';

const { scanBody } = (await import(
  new URL('../../gateway/src/upstream/body-scanner.ts', import.meta.url).href
)) as { scanBody: (body: Buffer) => unknown };

/** Text with a quote in every so many bytes. */
function quoted(every: number): Buffer {
  const piece = `${'x'.repeat(every - 1)}"`;
  const content = piece.repeat(Math.floor(300_000 / every));
  return Buffer.from(JSON.stringify({ model: 'claude-opus-4-8', messages: [{ role: 'user', content }] }));
}

const BODIES: Readonly<Record<string, Buffer>> = {
  'small request': conversation(500, true),
  '300 KB conversation with tools': conversation(300_000, true),
  '300 KB of text without quotes': quoted(300_000),
  '300 KB, a quote in 100 bytes': quoted(100),
  '300 KB, a quote in 10 bytes': quoted(10),
};

function best(body: Buffer, work: (body: Buffer) => unknown): number {
  for (let i = 0; i < 300; i++) work(body);
  let fastest = Infinity;
  for (let batch = 0; batch < 100; batch++) {
    const start = performance.now();
    for (let i = 0; i < 10; i++) work(body);
    fastest = Math.min(fastest, ((performance.now() - start) / 10) * 1000);
  }
  return fastest;
}

console.log('| body | bytes | JSON.parse, µs | scan, µs | ratio |\n|---|---:|---:|---:|---:|');
for (const [name, body] of Object.entries(BODIES)) {
  const parse = best(body, (bytes) => JSON.parse(bytes.toString()) as unknown);
  const scan = best(body, scanBody);
  console.log(
    `| ${name} | ${body.length} | ${parse.toFixed(1)} | ${scan.toFixed(1)} | ${(parse / scan).toFixed(0)}× |`,
  );
}
