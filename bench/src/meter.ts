/**
 * What metering an answer costs beside the relay, and beside parsing every event: the best of many runs.
 *
 *   npm run bench:meter -w @claude-gateway/bench
 */
import type { IncomingHttpHeaders } from 'node:http';

interface Meter {
  bytes(chunk: Buffer): void;
  end(): unknown;
}

const { createMeter } = (await import(
  new URL('../../gateway/src/spend/meter/meter.ts', import.meta.url).href
)) as { createMeter: (headers: IncomingHttpHeaders) => Meter };

const USAGE = { input_tokens: 12, cache_read_input_tokens: 48_211, output_tokens: 503 };
const CODE = '  const previous = await readPrevious("a/b.ts", { limit });\n';

function event(event: { type: string; [member: string]: unknown }): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** The events of an answer, each by itself, as an upstream sends them. */
function answer(pieces: number, type: string, member: string, text: string): Buffer[] {
  const piece = event({ type: 'content_block_delta', index: 0, delta: { type, [member]: text } });
  return [
    event({ type: 'message_start', message: { id: 'msg_1', type: 'message', content: [], usage: USAGE } }),
    event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
    ...Array.from({ length: pieces }, () => piece),
    event({ type: 'content_block_stop', index: 0 }),
    event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: USAGE }),
    event({ type: 'message_stop' }),
  ].map((text) => Buffer.from(text));
}

function cut(chunks: Buffer[], size: number): Buffer[] {
  const body = Buffer.concat(chunks);
  return Array.from({ length: Math.ceil(body.length / size) }, (_, i) =>
    body.subarray(i * size, (i + 1) * size),
  );
}

function notStreamed(characters: number): Buffer {
  const text = CODE.repeat(Math.ceil(characters / CODE.length));
  return Buffer.from(
    JSON.stringify({ id: 'msg_1', type: 'message', content: [{ type: 'text', text }], usage: USAGE }),
  );
}

const text = answer(500, 'text_delta', 'text', ' a few words');
const tool = answer(500, 'input_json_delta', 'partial_json', '"path": "a/b');
const large = answer(50, 'text_delta', 'text', CODE.repeat(20));
const wide = answer(500, 'text_delta', 'text', '字字字字字');
const CASES: Readonly<Record<string, Buffer[]>> = {
  '500 text deltas, one a chunk': text,
  '500 text deltas, cut every 1,460 bytes': cut(text, 1460),
  '500 text deltas, cut every 100 bytes': cut(text, 100),
  '500 text deltas, one chunk': [Buffer.concat(text)],
  '500 pieces of tool input, one a chunk': tool,
  '50 deltas of 1.2 KB, one a chunk': large,
  '500 deltas of Chinese, one a chunk': wide,
  'answer to 20 deltas, as in the comparison': answer(20, 'text_delta', 'text', ' a few words of text'),
  'JSON, 2 KB': [notStreamed(2000)],
  'JSON, 1 MB, cut every 64 KB': cut([notStreamed(1_000_000)], 65_536),
};

function metered(chunks: Buffer[]): unknown {
  const meter = createMeter({});
  for (const chunk of chunks) meter.bytes(chunk);
  return meter.end();
}

/** The obvious way: text, split at blank lines, every event parsed. */
function parsed(chunks: Buffer[]): unknown {
  const decoder = new TextDecoder();
  let rest = '';
  let last: unknown;
  for (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf('\n\n'); end !== -1; end = rest.indexOf('\n\n')) {
      const data = rest.slice(0, end).split('data: ')[1];
      rest = rest.slice(end + 2);
      if (data !== undefined) last = (JSON.parse(data) as { usage?: unknown }).usage ?? last;
    }
  }
  return rest === '' ? last : (JSON.parse(rest) as { usage?: unknown }).usage;
}

/** @returns µs of the fastest batch. */
function best(chunks: Buffer[], work: (chunks: Buffer[]) => unknown): number {
  const runs = Math.max(1, Math.floor(200_000 / chunks.reduce((sum, { length }) => sum + length, 0)));
  for (let i = 0; i < runs * 20; i++) work(chunks);
  let fastest = Infinity;
  for (let batch = 0; batch < 60; batch++) {
    const start = process.cpuUsage();
    for (let i = 0; i < runs * 5; i++) work(chunks);
    const { user, system } = process.cpuUsage(start);
    fastest = Math.min(fastest, (user + system) / (runs * 5));
  }
  return fastest;
}

console.log('| answer | chunks | KB | meter, µs | ns per KB | ns per chunk | parsing all, µs | ratio |');
console.log('|---|---:|---:|---:|---:|---:|---:|---:|');
for (const [name, chunks] of Object.entries(CASES)) {
  const kilobytes = chunks.reduce((sum, { length }) => sum + length, 0) / 1000;
  const meter = best(chunks, metered);
  const all = best(chunks, parsed);
  const cells = [
    name,
    chunks.length,
    kilobytes.toFixed(1),
    meter.toFixed(1),
    ((meter * 1000) / kilobytes).toFixed(0),
    ((meter * 1000) / chunks.length).toFixed(0),
    all.toFixed(1),
    `${(all / meter).toFixed(1)}×`,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}
