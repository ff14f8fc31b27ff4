import { randomUUID } from 'node:crypto';
import {
  createServer as createHttpServer,
  STATUS_CODES,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Audit } from '../observe/audit.ts';
import type { Log } from '../observe/log.ts';
import type { AddressSet } from './client-address.ts';
import { resolveClientAddress } from './client-address.ts';
import { setContext, type RequestContext } from './context.ts';
import { ApiError, sendApiError } from './errors.ts';
import { InFlight } from './in-flight.ts';
import { clientRequestId, logWhenAnswered } from './request-log.ts';
import { isProbe, loggedPath, pathOf } from './request-target.ts';

/** Who may connect, and how large a request line may be. Can be replaced while the listener runs. */
export interface ListenerRules {
  readonly trustedProxies: AddressSet;
  /** Empty: everybody who is not denied. */
  readonly allow: AddressSet;
  readonly deny: AddressSet;
  /** Characters of path and query; longer answers 414. */
  readonly maxUrlLength: number | undefined;
}

/** Told of every request that is over: quick, and never throws. */
export interface RequestCounts {
  /**
   * @param target Path and query.
   * @param status What the client was sent; 499 when it went before.
   * @param durationMs From the request's arrival to the last byte of the answer.
   */
  answered(method: string | undefined, target: string, status: number, durationMs: number): void;
}

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** PEM texts; absent: plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Bytes of all request headers together; more answers 431. */
  readonly maxHeaderBytes: number | undefined;
  readonly log: Log;
  readonly audit: Audit;
  readonly counts?: RequestCounts | undefined;
}

export type RequestHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
) => void;

/** Tokens that name hundreds of groups pass; Node's own 16 KiB would refuse them. */
const DEFAULT_MAX_HEADER_BYTES = 64 * 1024;

/**
 * Longer than the idle time-outs of common load balancers (the longest is ten minutes), so that it is always
 * them who close an idle connection and never a request that meets a closing one.
 */
const KEEP_ALIVE_MS = 620_000;

/** The time a client has to send one whole request, body included. */
const REQUEST_TIMEOUT_MS = 300_000;

const CLIENT_ERRORS: Record<string, ApiError> = {
  HPE_HEADER_OVERFLOW: new ApiError(
    'invalid_request_error',
    'The request headers are larger than this gateway accepts (limits.max_request_header_bytes).',
    { status: 431 },
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new ApiError('invalid_request_error', 'The request did not arrive in time.', {
    status: 408,
  }),
};
const BAD_REQUEST = new ApiError('invalid_request_error', 'The request is not valid HTTP/1.1.');

/** The one socket that clients talk to: request ids, client addresses, access lists, limits, drain. */
export class Listener {
  readonly #server: Server | HttpsServer;
  readonly #options: ListenerOptions;
  readonly #inFlight = new InFlight();
  #rules: ListenerRules;
  #handler: RequestHandler;
  #draining = false;

  constructor(options: ListenerOptions, rules: ListenerRules, handler: RequestHandler) {
    this.#options = options;
    this.#rules = rules;
    this.#handler = handler;
    const settings = {
      maxHeaderSize: options.maxHeaderBytes ?? DEFAULT_MAX_HEADER_BYTES,
      keepAliveTimeout: KEEP_ALIVE_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      noDelay: true,
    };
    this.#server =
      options.tls === undefined
        ? createHttpServer(settings)
        : createHttpsServer({ ...settings, ...options.tls, minVersion: 'TLSv1.2' });
    this.#server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#accept(request, response);
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
      refuseConnection(error, socket);
    });
  }

  /** Starts to listen. @returns the port, which is the system's choice when the option was 0. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.port, this.#options.host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** True from the first moment of {@link drain}: readiness turns red while requests are still served. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Requests that have not been answered to their last byte. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Open connections of clients, idle ones included. */
  connections(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
    });
  }

  /** Puts new rules and a new handler in force for the next request. */
  update(rules: ListenerRules, handler: RequestHandler): void {
    this.#rules = rules;
    this.#handler = handler;
  }

  /** New connections get this certificate; those that stand keep theirs. @throws Error when cert and key do not fit. */
  setCertificate(tls: { cert: string; key: string }): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext({ ...tls, minVersion: 'TLSv1.2' });
  }

  /**
   * Leaves service without cutting anybody off. For `delayMs` everything is still served, but each answer closes
   * its connection, and readiness is red, so that load balancers take this replica out; then no new connection is
   * accepted and what is in flight may finish.
   *
   * @returns how many requests had to be cut after `graceMs`.
   */
  async drain(delayMs: number, graceMs: number): Promise<number> {
    this.#draining = true;
    for (const response of this.#inFlight) response.shouldKeepAlive = false;
    await sleep(delayMs);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const idleSweep = setInterval(() => this.#server.closeIdleConnections(), 250);
    const grace = new AbortController();
    await Promise.race([closed, sleep(graceMs, undefined, { signal: grace.signal }).catch(() => undefined)]);
    grace.abort();
    clearInterval(idleSweep);
    const cut = this.#inFlight.size;
    this.#server.closeAllConnections();
    return cut;
  }

  #accept(request: IncomingMessage, response: ServerResponse): void {
    const theirId = clientRequestId(request);
    const log =
      theirId === undefined ? this.#options.log : this.#options.log.child({ client_request_id: theirId });
    const id = newRequestId();
    const clientAddress = resolveClientAddress(
      request.socket.remoteAddress ?? '',
      request.headers['x-forwarded-for'],
      this.#rules.trustedProxies,
    );
    const context: RequestContext = { id, clientAddress, log, startedAt: performance.now() };
    setContext(request, context);
    response.setHeader('request-id', id);
    const entry = this.#inFlight.add(response);
    const { counts } = this.#options;
    // Routers change it on their way.
    const target = request.url ?? '';
    response.once('close', () => {
      this.#inFlight.delete(entry);
      if (counts === undefined) return;
      const status = response.headersSent ? response.statusCode : 499;
      counts.answered(request.method, target, status, performance.now() - context.startedAt);
    });
    if (this.#draining) response.shouldKeepAlive = false;

    const refusal = this.#refusal(request, clientAddress);
    if (refusal !== undefined) {
      this.#options.audit('access.denied', {
        request_id: id,
        reason: refusal.reason,
        path: loggedPath(request.url ?? ''),
        client_ip: clientAddress,
      });
      logWhenAnswered(request, response, context);
      sendApiError(response, refusal.error, id);
      return;
    }
    try {
      this.#handler(request, response, context);
    } catch (error) {
      log.error({ err: error, request_id: id }, 'request handler threw');
      sendApiError(response, new ApiError('api_error', 'The gateway failed to handle this request.'), id);
    }
  }

  #refusal(request: IncomingMessage, address: string): { reason: string; error: ApiError } | undefined {
    const url = request.url ?? '';
    const { deny, allow, maxUrlLength } = this.#rules;
    if (maxUrlLength !== undefined && url.length > maxUrlLength) {
      return {
        reason: 'url_too_long',
        error: new ApiError(
          'invalid_request_error',
          `The URL is longer than ${maxUrlLength} characters (limits.max_url_length).`,
          { status: 414 },
        ),
      };
    }
    if (!deny.empty && deny.has(address)) return { reason: 'deny_cidrs', error: forbidden() };
    if (!allow.empty && !allow.has(address) && !isProbe(pathOf(url))) {
      return { reason: 'allow_cidrs', error: forbidden() };
    }
    return undefined;
  }
}

function newRequestId(): string {
  return `req_${randomUUID().replaceAll('-', '')}`;
}

function forbidden(): ApiError {
  return new ApiError('permission_error', 'This gateway does not serve your network address.');
}

function refuseConnection(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const refusal = CLIENT_ERRORS[error.code ?? ''] ?? BAD_REQUEST;
  const id = newRequestId();
  const body = refusal.toBody(id);
  socket.end(
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}\r\n` +
      `content-type: application/json\r\nrequest-id: ${id}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `connection: close\r\n\r\n${body}`,
  );
}
