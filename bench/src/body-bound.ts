/**
 * What bounding a request costs beside scanning its body: the best of many runs, in microseconds.
 *
 *   npm run bench:body-bound -w @claude-gateway/bench
 */
import type { IncomingHttpHeaders } from 'node:http';
import { conversation } from './load.ts';

interface Scan {
  readonly fields: object;
  readonly words: object;
  readonly tools: readonly object[];
  readonly fallbacks: readonly object[];
}

interface Request extends Scan {
  readonly body: Buffer;
  readonly otherModels: readonly object[];
  readonly headers: IncomingHttpHeaders;
}

const MODEL = 'claude-opus-4-8';
const SOURCES = new URL('../../gateway/src/', import.meta.url);
const { scanBody } = (await import(new URL('upstream/body-scanner.ts', SOURCES).href)) as {
  scanBody: (body: Buffer) => Scan;
};
const { boundOf } = (await import(new URL('spend/bound/body-bound.ts', SOURCES).href)) as {
  boundOf: (request: Request, model: string) => object;
};
const { createConversationMemory } = (await import(
  new URL('spend/bound/conversation-memory.ts', SOURCES).href
)) as {
  createConversationMemory: () => {
    remember: (conversation: string, request: Request, inputTokens: number) => void;
    promptTokens: (conversation: string, request: Request) => number | undefined;
  };
};
const { createPriceBook } = (await import(new URL('spend/prices/price-book.ts', SOURCES).href)) as {
  createPriceBook: (options: { pricing: undefined }) => {
    rates: (upstream: string, model: string, upstreamModel: string) => { ceiling: (bound: object) => bigint };
  };
};

/** A conversation of this size with Claude Code's system prompt and tools, about 60 KB of them. */
function request(bytes: number, extraTools: readonly object[] = []): Request {
  const parsed = JSON.parse(conversation(bytes, true).toString()) as { messages: object[] };
  const description = 'Reads a file from the local file system. You can read any file with this tool. ';
  const tools = Array.from({ length: 25 }, (_, i) => ({
    name: `Tool${i}`,
    description: description.repeat(25),
    input_schema: { type: 'object', properties: { file_path: { type: 'string', description } } },
  }));
  const body = Buffer.from(
    JSON.stringify({
      ...parsed,
      system: [{ type: 'text', text: description.repeat(200), cache_control: { type: 'ephemeral' } }],
      tools: [...tools, ...extraTools],
      thinking: { type: 'adaptive' },
      context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
    }),
  );
  return {
    body,
    ...scanBody(body),
    otherModels: [],
    headers: { 'anthropic-beta': 'claude-code-20250219,effort-2025-11-24' },
  };
}

function best(work: () => unknown): number {
  for (let i = 0; i < 300; i++) work();
  let fastest = Infinity;
  for (let batch = 0; batch < 100; batch++) {
    const start = performance.now();
    for (let i = 0; i < 10; i++) work();
    fastest = Math.min(fastest, ((performance.now() - start) / 10) * 1000);
  }
  return fastest;
}

const CASES: Readonly<Record<string, Request>> = {
  'small request': request(500),
  '270 KB conversation': request(270_000),
  '270 KB, with a search': request(270_000, [
    { type: 'web_search_20250305', name: 'web_search', max_uses: 8 },
  ]),
};
const book = createPriceBook({ pricing: undefined });

console.log(
  '| request | bytes | JSON.parse, µs | scan, µs | bound, µs | price of the bound, µs | from memory, µs |',
);
console.log('|---|---:|---:|---:|---:|---:|---:|');
for (const [name, each] of Object.entries(CASES)) {
  const memory = createConversationMemory();
  memory.remember('c', each, 1000);
  const bound = boundOf(each, MODEL);
  const times = [
    best(() => JSON.parse(each.body.toString()) as unknown),
    best(() => scanBody(each.body)),
    best(() => boundOf(each, MODEL)),
    best(() => book.rates('anthropic', MODEL, MODEL).ceiling(bound)),
    best(() => memory.promptTokens('c', each)),
  ];
  console.log(`| ${name} | ${each.body.length} | ${times.map((time) => time.toFixed(1)).join(' | ')} |`);
}
