import { Agent, fetch as undiciFetch, type Dispatcher } from 'undici';
import { createConnector } from './connector.ts';
import type { ProxyOptions } from './proxy-choice.ts';
import type { Resolver } from './ssrf-guard.ts';

export { outboundProxy } from './outbound-proxy.ts';
export type { ProxyOptions } from './proxy-choice.ts';

export interface AgentOptions {
  /** CLAUDE_GATEWAY_ALLOW_LOOPBACK. */
  readonly allowLoopback: boolean;
  /** PEM certificates that replace the system's trust store. */
  readonly caPem?: string;
  readonly proxy?: ProxyOptions;
  /** Sockets per origin; unlimited when absent. */
  readonly connections?: number;
  /** Until a socket (and TLS, and a proxy's tunnel) is up. Default 10 000 ms. */
  readonly connectTimeoutMs?: number;
  /** Until response headers have come; 0 means never. Default 30 000 ms. */
  readonly headersTimeoutMs?: number;
  /** Between two chunks of a response body; 0 means never. Default 30 000 ms. */
  readonly bodyTimeoutMs?: number;
  /** How long an idle socket is kept. Default 30 000 ms. */
  readonly keepAliveTimeoutMs?: number;
  /** The longest response body, in bytes; unlimited when absent. */
  readonly maxResponseBytes?: number;
  /** Offers HTTP/2 to destinations. Default false. */
  readonly allowH2?: boolean;
  /** For tests; the system's resolver when absent. */
  readonly resolve?: Resolver;
}

/**
 * A pool of connections that can only lead where the SSRF guard allows. It follows no redirect; whoever does so with
 * it is guarded at every hop, because the guard sits where sockets are opened.
 */
export function createAgent(options: AgentOptions): Dispatcher {
  return new Agent({
    connect: createConnector({
      allowLoopback: options.allowLoopback,
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      allowH2: options.allowH2 ?? false,
      ...(options.caPem === undefined ? {} : { caPem: options.caPem }),
      ...(options.proxy === undefined ? {} : { proxy: options.proxy }),
      ...(options.resolve === undefined ? {} : { resolve: options.resolve }),
    }),
    allowH2: options.allowH2 ?? false,
    connections: options.connections ?? null,
    headersTimeout: options.headersTimeoutMs ?? 30_000,
    bodyTimeout: options.bodyTimeoutMs ?? 30_000,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 30_000,
    maxResponseSize: options.maxResponseBytes ?? -1,
  });
}

/** `fetch` as libraries take it for their `customFetch`. */
export type FetchFunction = (url: string | URL, init?: RequestInit) => Promise<Response>;

/**
 * `fetch` over an agent of {@link createAgent}. Redirects are handed back, not followed, unless `init.redirect` asks.
 *
 * Answers may not be compressed.
 *
 * @param defaults.timeoutMs For the whole exchange when `init` brings no signal of its own; none when absent.
 */
export function createFetch(agent: Dispatcher, defaults: { timeoutMs?: number } = {}): FetchFunction {
  // The package's own fetch: the global one is of another undici, whose dispatcher interface may differ.
  const fetch = undiciFetch as unknown as (url: string | URL, init: object) => Promise<Response>;
  return async (url, init) => {
    const headers = new Headers(init?.headers);
    headers.set('accept-encoding', 'identity');
    const response = await fetch(url, {
      ...(defaults.timeoutMs === undefined ? {} : { signal: AbortSignal.timeout(defaults.timeoutMs) }),
      redirect: 'manual',
      ...init,
      headers: [...headers],
      dispatcher: agent,
    });
    // An agent's limit counts what comes over the wire, and 700 bytes can be made of a gigabyte.
    const coding = response.headers.get('content-encoding')?.trim().toLowerCase() ?? '';
    if (coding === '' || coding === 'identity') return response;
    await response.body?.cancel();
    throw new TypeError('the answer is compressed, which was not asked for (content-encoding)');
  };
}

/**
 * What went wrong with an outbound request, for a log line: HTTP clients wrap the telling error in `cause`.
 */
export function describeNetworkError(error: unknown): string {
  const messages: string[] = [];
  for (
    let current = asError(error);
    current !== null && messages.length < 5;
    current = asError(current.cause)
  ) {
    const attempts = Array.isArray(current.errors) ? (current.errors as unknown[]) : [];
    const message = current.message || asError(attempts[0])?.message || current.code || '';
    if (message !== '' && message !== 'fetch failed' && !messages.includes(message)) messages.push(message);
  }
  return messages.length === 0 ? String(error) : messages.join(': ');
}

interface ErrorLike {
  readonly message: string;
  readonly code?: string;
  readonly cause?: unknown;
  readonly errors?: unknown;
}

// By shape: errors of Node's internals need not be instances of the Error that this module sees.
function asError(value: unknown): ErrorLike | null {
  return typeof value === 'object' &&
    value !== null &&
    'message' in value &&
    typeof value.message === 'string'
    ? (value as ErrorLike)
    : null;
}
