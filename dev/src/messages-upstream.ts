import { randomUUID } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  answerText,
  countInputTokens,
  encodeEvent,
  eventsOf,
  messageOf,
  tokensOf,
  usageOf,
  type MessagesRequest,
} from './messages-answer.ts';

/** A request as it arrived. */
export interface UpstreamRequest {
  readonly method: string;
  /** Path without the query. */
  readonly path: string;
  /** With its question mark, or empty. */
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body as JSON; undefined when it is none. */
  readonly json: MessagesRequest | undefined;
}

/** What goes wrong instead of an answer. */
export type UpstreamFailure =
  | {
      /** An error in the envelope of the Messages API, before any answer. */
      readonly status: number;
      readonly type?: string;
      readonly message?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The connection breaks: at once, or after so many events of a stream. */
  | { readonly cutAfterEvents: number };

export interface MessagesUpstreamOptions {
  /** 0 or absent: any free port. */
  readonly port?: number;
  /** When given, requests that bring neither this `x-api-key` nor this bearer get a 401. */
  readonly credential?: string;
  /** Before the response begins, in ms. Default 0. */
  readonly delayMs?: number;
  /** Between two tokens of a stream, in ms. Default 0: as fast as the reader takes them. */
  readonly paceMs?: number;
  /** How many tokens an answer has, whatever was asked. Default: an echo of the request. */
  readonly tokens?: number;
  /** Asked before each answer. */
  readonly failure?: (request: UpstreamRequest) => UpstreamFailure | undefined;
  /** What `GET /v1/models` lists. */
  readonly models?: readonly string[];
  /** How many requests are remembered. Default 100, the latest. */
  readonly remember?: number;
}

/** A development upstream, on 127.0.0.1 only. */
export interface MessagesUpstream {
  readonly url: string;
  /** The latest requests, oldest first. */
  requests(): readonly UpstreamRequest[];
  /** Requests that are being answered. */
  readonly inFlight: number;
  stop(): Promise<void>;
}

const DEFAULT_MODELS = ['claude-opus-4-8', 'claude-sonnet-4-6', 'claude-haiku-4-5'];

const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

/**
 * Starts a server that answers like the Messages API, well enough for a real Claude Code: streams and whole answers,
 * token counts, the model list, errors. Nothing here thinks; nothing leaves the machine.
 */
export async function startMessagesUpstream(
  options: MessagesUpstreamOptions = {},
): Promise<MessagesUpstream> {
  const remembered: UpstreamRequest[] = [];
  let inFlight = 0;

  const server = createServer((incoming, response) => {
    inFlight++;
    response.once('close', () => inFlight--);
    readRequest(incoming)
      .then((request) => {
        remembered.push(request);
        if (remembered.length > (options.remember ?? 100)) remembered.shift();
        return answer(request, response, options);
      })
      .catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => remembered,
    get inFlight() {
      return inFlight;
    },
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function readRequest(incoming: IncomingMessage): Promise<UpstreamRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const url = incoming.url ?? '/';
  const mark = url.indexOf('?');
  return {
    method: incoming.method ?? 'GET',
    path: mark === -1 ? url : url.slice(0, mark),
    query: mark === -1 ? '' : url.slice(mark),
    headers: incoming.headers,
    body,
    json: parse(body),
  };
}

async function answer(
  request: UpstreamRequest,
  response: ServerResponse,
  options: MessagesUpstreamOptions,
): Promise<void> {
  response.setHeader('request-id', `req_${randomUUID().replaceAll('-', '').slice(0, 24)}`);
  response.setHeader('anthropic-organization-id', '00000000-0000-4000-8000-000000000000');
  if ((options.delayMs ?? 0) > 0) await sleep(options.delayMs);

  const failure = options.failure?.(request);
  if (failure !== undefined && 'status' in failure) {
    for (const [name, value] of Object.entries(failure.headers ?? {})) response.setHeader(name, value);
    sendError(response, failure.status, failure.message ?? 'injected failure', failure.type);
    return;
  }
  if (failure?.cutAfterEvents === 0) {
    response.destroy();
    return;
  }
  if (options.credential !== undefined && !isAuthorized(request.headers, options.credential)) {
    sendError(response, 401, 'invalid x-api-key');
    return;
  }

  const { method, path, json, body } = request;
  if (path === '/v1/models' && method === 'GET') sendModels(response, options.models ?? DEFAULT_MODELS);
  else if (path !== '/v1/messages' && path !== '/v1/messages/count_tokens') {
    sendError(response, 404, `nothing at ${method} ${path}`);
  } else if (json === undefined || typeof json.model !== 'string' || !Array.isArray(json.messages)) {
    sendError(response, 400, 'model and messages are required');
  } else if (path === '/v1/messages/count_tokens') {
    sendJson(response, 200, { input_tokens: countInputTokens(body.length) });
  } else await sendMessage(json, body.length, response, options, failure?.cutAfterEvents);
}

async function sendMessage(
  request: MessagesRequest,
  bodyBytes: number,
  response: ServerResponse,
  options: MessagesUpstreamOptions,
  cutAfterEvents: number | undefined,
): Promise<void> {
  const wanted =
    options.tokens === undefined
      ? tokensOf(answerText(request))
      : Array.from({ length: options.tokens }, (_, i) => ` t${i}`);
  const limit = typeof request.max_tokens === 'number' ? request.max_tokens : Infinity;
  const tokens = wanted.slice(0, limit);
  const cut = tokens.length < wanted.length;
  const usage = usageOf(bodyBytes, tokens.length);
  response.setHeader('anthropic-ratelimit-requests-limit', '4000');
  response.setHeader('anthropic-ratelimit-requests-remaining', '3999');
  if (request.stream !== true) {
    sendJson(response, 200, messageOf(request, tokens, usage, cut));
    return;
  }

  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
  });
  let sent = 0;
  for (const event of eventsOf(request, tokens, usage, cut)) {
    if (sent++ === cutAfterEvents) {
      // What was written still goes out.
      response.socket?.destroySoon();
      return;
    }
    if (event.type === 'content_block_delta' && (options.paceMs ?? 0) > 0) await sleep(options.paceMs);
    if (response.destroyed) return;
    if (!response.write(encodeEvent(event))) await drained(response);
  }
  response.end();
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

function sendModels(response: ServerResponse, models: readonly string[]): void {
  const data = models.map((id) => ({
    type: 'model',
    id,
    display_name: id,
    created_at: '2026-01-01T00:00:00Z',
  }));
  sendJson(response, 200, {
    data,
    has_more: false,
    first_id: models[0] ?? null,
    last_id: models.at(-1) ?? null,
  });
}

function sendError(response: ServerResponse, status: number, message: string, type?: string): void {
  const error = { type: type ?? ERROR_TYPES[status] ?? 'api_error', message };
  sendJson(response, status, { type: 'error', error, request_id: response.getHeader('request-id') });
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
}

function isAuthorized(headers: IncomingHttpHeaders, credential: string): boolean {
  return headers['x-api-key'] === credential || headers.authorization === `Bearer ${credential}`;
}

function parse(body: Buffer): MessagesRequest | undefined {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
