/**
 * A closed-loop load generator: so many connections, each of which sends its next request when the last one is
 * answered. Takes a {@link LoadOptions} as JSON in its first argument and prints a {@link LoadResult}.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { MessageReader } from './http-framing.ts';

export interface LoadOptions {
  readonly port: number;
  /** Several, one for each connection in turn, instead of `port`. */
  readonly ports?: readonly number[];
  readonly bearer: string;
  /** A file with a bearer token in each line, one for each request in turn, instead of `bearer`. */
  readonly bearersFile?: string;
  readonly connections: number;
  /** Bytes of the request body. */
  readonly bodyBytes: number;
  /** Text deltas of a streamed answer; absent: not streamed. */
  readonly deltas?: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly errors: number;
  readonly seconds: number;
  readonly requestsPerSecond: number;
  /** Of whole exchanges, in ms. */
  readonly latency: Quantiles;
  /** Until the first byte of the answer's body, in ms. */
  readonly firstByte: Quantiles;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

/**
 * A body of this size in the shape of a conversation with tools: short strings, long strings, and the escapes that
 * source code in JSON has.
 */
export function conversation(bytes: number, stream: boolean): Buffer {
  const request = {
    model: 'claude-opus-4-8',
    messages: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }] as object[],
    max_tokens: 1024,
    stream,
  };
  const lines = [
    '  // What the last run has left behind is read first, if there is anything.\n',
    '  const previous = await readPrevious(directory, options.limit);\n',
    `\tconst value = previous ?? read("a/b/c.json", { flag: 'r' });\n`,
    '  if (value.length > options.limit) return undefined;\n',
  ].join('');
  const size = (): number => Buffer.byteLength(JSON.stringify(request));
  for (let turn = 0; size() + 4000 < bytes; turn++) {
    request.messages.push(
      {
        role: 'assistant',
        content: [{ type: 'tool_use', id: `toolu_${turn}`, name: 'Read', input: { path: 'a/b/c' } }],
      },
      {
        role: 'user',
        content: [{ type: 'tool_result', tool_use_id: `toolu_${turn}`, content: lines.repeat(15) }],
      },
    );
  }
  const missing = Math.max(0, bytes - size() - 40);
  request.messages.push({ role: 'user', content: 'x'.repeat(missing) });
  return Buffer.from(JSON.stringify(request));
}

/** Requests ready to be written, for one bearer token after the other. */
function requestsOf(options: LoadOptions): () => Buffer {
  const body = conversation(options.bodyBytes, options.deltas !== undefined);
  const { bearersFile } = options;
  if (bearersFile === undefined) {
    const request = requestOf(options, options.bearer, body);
    return () => request;
  }
  const requests = readFileSync(bearersFile, 'utf8')
    .trim()
    .split('\n')
    .map((bearer) => requestOf(options, bearer, body));
  // Runs that follow each other do not begin with the same people.
  let next = Math.floor(Math.random() * requests.length);
  return () => requests[next++ % requests.length] as Buffer;
}

function requestOf(options: LoadOptions, bearer: string, body: Buffer): Buffer {
  const head = [
    'POST /v1/messages?beta=true HTTP/1.1',
    `host: 127.0.0.1:${options.port}`,
    'accept: application/json',
    `authorization: Bearer ${bearer}`,
    'content-type: application/json',
    'user-agent: claude-cli/2.1.330 (external, cli)',
    'x-claude-code-session-id: 3782c4fc-4d72-4d68-891e-cbd7cf2244dd',
    'x-stainless-arch: x64',
    'x-stainless-lang: js',
    'x-stainless-os: Linux',
    'x-stainless-package-version: 0.128.0',
    'x-stainless-retry-count: 0',
    'x-stainless-runtime: node',
    'x-stainless-runtime-version: v26.12.1',
    'x-stainless-timeout: 600',
    'anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,effort-2025-11-24',
    'anthropic-version: 2023-06-01',
    'x-app: cli',
    ...(options.deltas === undefined ? [] : [`x-stainless-events: ${options.deltas}`]),
    `content-length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

function quantiles(values: number[]): Quantiles {
  const sorted = Float64Array.from(values).sort();
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

async function run(options: LoadOptions): Promise<LoadResult> {
  const nextRequest = requestsOf(options);
  const latencies: number[] = [];
  const firstBytes: number[] = [];
  let errors = 0;
  const begin = performance.now() + options.warmUpMs;
  const finish = begin + options.measureMs;

  const ports = options.ports ?? [options.port];
  const client = (port: number): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.setNoDelay(true);
      let sentAt = 0;
      let firstAt = 0;
      const send = (): void => {
        sentAt = performance.now();
        if (sentAt >= finish) socket.destroy();
        else socket.write(nextRequest());
      };
      const reader = new MessageReader({
        head: (head) => {
          if (!head.startsWith('HTTP/1.1 200')) errors++;
        },
        body: () => (firstAt = performance.now()),
        end: () => {
          const now = performance.now();
          if (sentAt >= begin && now <= finish) {
            latencies.push(now - sentAt);
            firstBytes.push(firstAt - sentAt);
          }
          send();
        },
      });
      socket.on('data', (chunk: Buffer) => reader.push(chunk));
      socket.on('connect', send);
      socket.on('error', () => errors++);
      socket.on('close', () => resolve());
      // A connection that died early is an error, and so is one that never ends.
      setTimeout(() => socket.destroy(), options.warmUpMs + options.measureMs + 10_000).unref();
    });

  await Promise.all(
    Array.from({ length: options.connections }, (_, i) => client(ports[i % ports.length] as number)),
  );
  const seconds = options.measureMs / 1000;
  return {
    requests: latencies.length,
    errors,
    seconds,
    requestsPerSecond: latencies.length / seconds,
    latency: quantiles(latencies),
    firstByte: quantiles(firstBytes),
  };
}

const argument = process.argv[2];
if (import.meta.main && argument !== undefined) {
  console.log(JSON.stringify(await run(JSON.parse(argument) as LoadOptions)));
}
