import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BilledTokens } from './prices.ts';

/** What becomes of one request. Worked out beforehand, so that it does not depend on when the request comes. */
export interface AnswerPlan {
  /** `output` is what the model would like to say; `max_tokens` of the request that arrives cuts it. */
  readonly tokens: BilledTokens;
  /** Before the answer begins, in ms. */
  readonly delayMs: number;
  /** How long a streamed answer takes, in ms. */
  readonly streamMs: number;
  /** In how many pieces a streamed answer is written. */
  readonly pieces: number;
  readonly failure?: { readonly status: number } | { readonly cutAfterPieces: number };
}

/** How an answer ended, as the upstream saw it. */
export type AnswerEnd = 'answering' | 'complete' | 'refused' | 'cut' | 'aborted';

/** One request as the upstream saw and would bill it: the witness. */
export interface Testimony {
  readonly index: number;
  readonly model: string;
  readonly maxTokens: number;
  readonly streamed: boolean;
  /** Of the whole answer. */
  readonly planned: BilledTokens;
  /** What of it was sent: all of it in the end, less when the answer broke off. */
  sent: BilledTokens;
  end: AnswerEnd;
  /** `performance.now()` */
  endedAt: number;
}

export interface MeteredUpstreamOptions {
  /** @param index From the marker in the request; see {@link markerOf}. */
  readonly plan: (index: number) => AnswerPlan;
  /** Answers requests that have no marker; without it they are an error. */
  readonly otherwise?: (incoming: IncomingMessage, body: string, response: ServerResponse) => Promise<void>;
  /** Called whenever more was sent than before. */
  readonly onSent?: (testimony: Testimony) => void;
}

/** An upstream that says beforehand what it is going to charge, and remembers what it did. On 127.0.0.1 only. */
export interface MeteredUpstream {
  readonly url: string;
  /** In order of arrival. An index occurs again when the gateway tried again. */
  readonly testimonies: readonly Testimony[];
  readonly countTokensCalls: number;
  stop(): Promise<void>;
}

/** Has to be somewhere in the body, also in that of `count_tokens`. */
export function markerOf(index: number): string {
  return `request-number-${index}-`;
}

const MARKER = /request-number-(\d+)-/;
/** About four characters make a token; so that what was sent can be told from its length. */
export const CHARACTERS_PER_TOKEN = 4;

const NOTHING: BilledTokens = {
  input: 0,
  output: 0,
  cacheRead: 0,
  cacheWrite5m: 0,
  cacheWrite1h: 0,
  webSearches: 0,
};

/** Answers `POST /v1/messages` and `/v1/messages/count_tokens` by plan. */
export async function startMeteredUpstream(options: MeteredUpstreamOptions): Promise<MeteredUpstream> {
  const testimonies: Testimony[] = [];
  let countTokensCalls = 0;
  const server = createServer((incoming, response) => {
    response.on('error', () => response.destroy());
    read(incoming)
      .then(async (body) => {
        if (options.otherwise !== undefined && !MARKER.test(body)) {
          await options.otherwise(incoming, body, response);
          return;
        }
        const index = Number(MARKER.exec(body)?.[1]);
        const plan = options.plan(index);
        if (incoming.url?.startsWith('/v1/messages/count_tokens')) {
          countTokensCalls++;
          const { input, cacheRead, cacheWrite5m, cacheWrite1h } = plan.tokens;
          sendJson(response, 200, { input_tokens: input + cacheRead + cacheWrite5m + cacheWrite1h });
          return;
        }
        const request = JSON.parse(body) as { model: string; max_tokens: number; stream?: boolean };
        const testimony: Testimony = {
          index,
          model: request.model,
          maxTokens: request.max_tokens,
          streamed: request.stream === true,
          planned: { ...plan.tokens, output: Math.min(plan.tokens.output, request.max_tokens) },
          sent: NOTHING,
          end: 'answering',
          endedAt: Infinity,
        };
        testimonies.push(testimony);
        await answer(testimony, plan, response, (sent) => {
          testimony.sent = sent;
          options.onSent?.(testimony);
        });
      })
      .catch(() => response.destroy());
  });
  // Where several systems are compared they must not differ in how often they meet a connection that has just closed.
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    testimonies,
    get countTokensCalls() {
      return countTokensCalls;
    },
    async stop() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(
  testimony: Testimony,
  plan: AnswerPlan,
  response: ServerResponse,
  onSent: (sent: BilledTokens) => void,
): Promise<void> {
  const finish = (end: AnswerEnd): void => {
    if (testimony.end !== 'answering') return;
    testimony.end = end;
    testimony.endedAt = performance.now();
  };
  response.once('close', () => finish('aborted'));
  await sleep(plan.delayMs);
  if (response.destroyed) return;

  const { failure } = plan;
  if (failure !== undefined && 'status' in failure) {
    finish('refused');
    const type = failure.status === 529 ? 'overloaded_error' : 'api_error';
    sendJson(response, failure.status, { type: 'error', error: { type, message: 'as planned' } });
    return;
  }
  const { planned } = testimony;
  const text = 'word'.repeat(planned.output);
  if (!testimony.streamed) {
    if (failure !== undefined) {
      finish('cut');
      response.destroy();
      return;
    }
    onSent(planned);
    finish('complete');
    sendJson(response, 200, {
      ...messageOf(testimony),
      content: [{ type: 'text', text }],
      stop_reason: 'end_turn',
      usage: usageOf(planned, planned.output),
    });
    return;
  }

  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  const write = (event: { type: string; [field: string]: unknown }): void => {
    if (!response.destroyed) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  };
  // Searches happen while the model answers, so the beginning does not count them.
  const start = { ...planned, output: 0, webSearches: 0 };
  onSent(start);
  write({ type: 'message_start', message: { ...messageOf(testimony), usage: usageOf(start, 1) } });
  write({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
  const tokensPerPiece = Math.ceil(planned.output / plan.pieces);
  for (let piece = 0; piece < plan.pieces; piece++) {
    await sleep(plan.streamMs / plan.pieces);
    if (response.destroyed) return;
    if (failure !== undefined && piece === failure.cutAfterPieces) {
      finish('cut');
      // What was written still goes out.
      response.socket?.destroySoon();
      return;
    }
    const output = Math.min(planned.output, (piece + 1) * tokensPerPiece);
    const delta = text.slice(piece * tokensPerPiece * CHARACTERS_PER_TOKEN, output * CHARACTERS_PER_TOKEN);
    onSent({ ...start, output });
    if (delta !== '') {
      write({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: delta } });
    }
  }
  write({ type: 'content_block_stop', index: 0 });
  onSent(planned);
  // Both kinds of last usage exist: of the output alone, and of everything once more.
  const last = testimony.index % 2 === 0 ? usageOf(planned, planned.output) : lastUsageOf(planned);
  write({ type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: last });
  write({ type: 'message_stop' });
  finish('complete');
  response.end();
}

function messageOf(testimony: Testimony): object {
  return {
    id: `msg_${testimony.index}`,
    type: 'message',
    role: 'assistant',
    model: testimony.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
  };
}

function usageOf(tokens: BilledTokens, output: number): object {
  return {
    input_tokens: tokens.input,
    cache_read_input_tokens: tokens.cacheRead,
    cache_creation_input_tokens: tokens.cacheWrite5m + tokens.cacheWrite1h,
    cache_creation: {
      ephemeral_5m_input_tokens: tokens.cacheWrite5m,
      ephemeral_1h_input_tokens: tokens.cacheWrite1h,
    },
    ...searchesOf(tokens),
    output_tokens: output,
    service_tier: 'standard',
  };
}

function lastUsageOf(tokens: BilledTokens): object {
  return { output_tokens: tokens.output, ...searchesOf(tokens) };
}

function searchesOf({ webSearches }: BilledTokens): object {
  return webSearches === 0 ? {} : { server_tool_use: { web_search_requests: webSearches } };
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
}

async function read(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
