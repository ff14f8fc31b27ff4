import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Audit } from '../observe/audit.ts';
import type { Log } from '../observe/log.ts';
import type { AddressSet } from './client-address.ts';
import { resolveClientAddress } from './client-address.ts';
import { isTimeout, refuseMalformed } from './client-errors.ts';
import { Connections } from './connections.ts';
import { setContext, type RequestContext } from './context.ts';
import { ApiError, sendApiError } from './errors.ts';
import { answerAndClose, newRequestId } from './raw-answer.ts';
import { clientRequestId, logWhenAnswered } from './request-log.ts';
import { ProxyNotice } from './proxy-notice.ts';
import { isProbe, loggedPath, originForm, pathOf } from './request-target.ts';
import type { ShedReason } from './shedding.ts';
import type { TrackedRequest } from './traffic.ts';
import { Traffic } from './traffic.ts';
import type { TrafficLimits } from './traffic-limits.ts';
import { WaitingSockets } from './waiting-sockets.ts';

/** Who may connect, and how large a request line may be. Can be replaced while the listener runs. */
export interface ListenerRules {
  readonly trustedProxies: AddressSet;
  /** Empty: everybody who is not denied. */
  readonly allow: AddressSet;
  readonly deny: AddressSet;
  /** Characters of path and query; longer answers 414. */
  readonly maxUrlLength: number | undefined;
  readonly traffic: TrafficLimits;
}

/** Told of every request that is over: quick, and never throws. */
export interface RequestCounts {
  /**
   * @param target Path and query.
   * @param status What the client was sent; 499 when it went before.
   * @param durationMs From the request's arrival to the last byte of the answer.
   */
  answered(method: string | undefined, target: string, status: number, durationMs: number): void;
  /** A client was refused or cut off so that others can be served. */
  shed(reason: ShedReason): void;
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

/** Beside what {@link Traffic} allows for headers and body: a last resort. */
const SPARE_MS = 30_000;
/** Requests of one connection that wait for their answer at a time. No client of this API sends one before the other is answered. */
const MAX_PIPELINED = 16;

type WithRequests = Socket & { [REQUESTS]?: TrackedRequest[] };
/** Those of a connection that are under way, in their order. */
const REQUESTS = Symbol('requests under way');

/** The one socket that clients talk to: request ids, client addresses, access lists, limits, drain. */
export class Listener {
  readonly #server: Server | HttpsServer;
  readonly #options: ListenerOptions;
  readonly #traffic: Traffic;
  readonly #connections: Connections;
  readonly #waiting: WaitingSockets;
  #sweep: NodeJS.Timeout | undefined;
  #rules: ListenerRules;
  #handler: RequestHandler;
  #draining = false;
  readonly #proxyNotice: ProxyNotice;

  constructor(options: ListenerOptions, rules: ListenerRules, handler: RequestHandler) {
    this.#options = options;
    this.#rules = rules;
    this.#handler = handler;
    const { counts } = options;
    this.#traffic = new Traffic(rules.traffic, options.log, (reason) => counts?.shed(reason));
    this.#proxyNotice = new ProxyNotice(options.log);
    const settings = {
      maxHeaderSize: options.maxHeaderBytes ?? DEFAULT_MAX_HEADER_BYTES,
      connectionsCheckingInterval: rules.traffic.sweepMs,
      noDelay: true,
      // Of a peer that is gone without a word the kernel says so in the end.
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    };
    this.#server =
      options.tls === undefined
        ? createHttpServer(settings)
        : createHttpsServer({
            ...settings,
            ...options.tls,
            minVersion: 'TLSv1.2',
            handshakeTimeout: rules.traffic.headersMs,
          });
    this.#connections = new Connections(
      this.#server,
      { trustedProxies: rules.trustedProxies, limits: rules.traffic },
      this.#traffic.shedding,
      options.tls === undefined,
    );
    this.#waiting = new WaitingSockets(this.#server, options.tls === undefined, this.#traffic.shedding);
    this.#setTimeouts(rules.traffic);
    const accept = (request: IncomingMessage, response: ServerResponse): void =>
      this.#accept(request, response);
    this.#server.on('request', accept);
    this.#server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      // Said when somebody begins to read, who is then authenticated and has room for it.
      request.once('resume', () => {
        if (!response.headersSent) response.writeContinue();
      });
      accept(request, response);
    });
    this.#server.on('checkExpectation', accept);
    this.#server.on('connect', (_request: IncomingMessage, socket: Duplex) =>
      answerAndClose(socket, NO_TUNNELS),
    );
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) =>
      this.#refuseMalformed(error, socket as Socket),
    );
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
    this.#sweep = setInterval(() => {
      const now = performance.now();
      this.#traffic.sweep(now);
      this.#waiting.sweep(now, this.#rules.traffic);
    }, this.#rules.traffic.sweepMs).unref();
    return (this.#server.address() as AddressInfo).port;
  }

  /** True from the first moment of {@link drain}: readiness turns red while requests are still served. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Requests that have not been answered to their last byte. */
  get inFlight(): number {
    return this.#traffic.inFlight.size;
  }

  /** Bytes of request bodies that have been read or are to be. */
  get bufferedBodyBytes(): number {
    return this.#traffic.budget.taken;
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
    this.#traffic.limits = rules.traffic;
    this.#connections.update({ trustedProxies: rules.trustedProxies, limits: rules.traffic });
    this.#setTimeouts(rules.traffic);
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
    for (const { response } of this.#traffic.inFlight) response.shouldKeepAlive = false;
    await sleep(delayMs);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const idleSweep = setInterval(() => this.#server.closeIdleConnections(), 250);
    const grace = new AbortController();
    await Promise.race([closed, sleep(graceMs, undefined, { signal: grace.signal }).catch(() => undefined)]);
    grace.abort();
    clearInterval(idleSweep);
    clearInterval(this.#sweep);
    const cut = this.#traffic.inFlight.size;
    this.#server.closeAllConnections();
    return cut;
  }

  #setTimeouts({ headersMs, bodyMs, keepAliveMs }: TrafficLimits): void {
    this.#server.headersTimeout = headersMs;
    this.#server.requestTimeout = headersMs + bodyMs + SPARE_MS;
    this.#server.keepAliveTimeout = keepAliveMs;
  }

  #accept(request: IncomingMessage, response: ServerResponse): void {
    const socket = request.socket as WithRequests;
    if (this.#connections.isRefused(socket)) {
      socket.destroy();
      return;
    }
    const target = originForm(request.url ?? '');
    request.url = target;
    const theirId = clientRequestId(request);
    const log =
      theirId === undefined ? this.#options.log : this.#options.log.child({ client_request_id: theirId });
    const id = newRequestId();
    const clientAddress = resolveClientAddress(
      socket.remoteAddress ?? '',
      request.headers['x-forwarded-for'],
      this.#rules.trustedProxies,
    );
    const traffic = this.#traffic.track(request, response, id, clientAddress);
    const underWay = (socket[REQUESTS] ??= []);
    underWay.push(traffic);
    this.#waiting.busy(socket);
    const { trustedProxies } = this.#rules;
    this.#proxyNotice.look(request, clientAddress, trustedProxies);
    const startedAt = performance.now();
    const context: RequestContext = { id, clientAddress, trustedProxies, log, startedAt, target, traffic };
    setContext(request, context);
    response.setHeader('request-id', id);
    const { counts } = this.#options;
    response.once('close', () => {
      underWay.splice(underWay.indexOf(traffic), 1);
      traffic.end();
      if (underWay.length === 0) this.#waitOn(request, socket, underWay);
      if (counts === undefined) return;
      const status = response.headersSent ? response.statusCode : 499;
      counts.answered(request.method, target, status, performance.now() - startedAt);
    });
    if (this.#draining) response.shouldKeepAlive = false;
    if (underWay.length > MAX_PIPELINED) {
      this.#traffic.shedding.shed('pipelining', 'requests of one connection', clientAddress);
      socket.destroy();
      return;
    }

    const refusal = this.#refusal(request, target, clientAddress);
    if (refusal !== undefined) {
      if (refusal.reason !== undefined) {
        this.#options.audit('access.denied', {
          request_id: id,
          reason: refusal.reason,
          path: loggedPath(target),
          client_ip: clientAddress,
        });
      }
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

  /** For the next request, as soon as all of the last one has come. */
  #waitOn(request: IncomingMessage, socket: Socket, underWay: readonly TrackedRequest[]): void {
    const wait = (): void => {
      if (underWay.length === 0) this.#waiting.idle(socket);
    };
    if (request.complete) wait();
    else request.once('end', wait);
  }

  #refuseMalformed(error: NodeJS.ErrnoException, socket: WithRequests): void {
    const underWay = socket[REQUESTS] ?? [];
    // It is being closed: nothing more is waited for.
    this.#waiting.busy(socket);
    // The body of the only request is broken, or late, and its answer has not begun: that is the answer.
    const [only] = underWay;
    const isAnswering = underWay.length > 1 || (only !== undefined && !only.awaitsBody);
    if (isTimeout(error)) {
      this.#traffic.shedding.shed('slow_headers', 'timeouts.request_headers_ms', socket.remoteAddress ?? '');
    }
    refuseMalformed(error, socket, isAnswering);
  }

  /** @returns why nobody is to look at this request; what has a reason becomes an audit event. */
  #refusal(
    request: IncomingMessage,
    url: string,
    address: string,
  ): { reason?: string; error: ApiError } | undefined {
    if (request.method === 'TRACE') return { error: NO_TRACES };
    if (hasTwoHosts(request.rawHeaders)) return { error: TWO_HOSTS };
    const coding = request.headers['transfer-encoding'];
    if (coding !== undefined && coding.toLowerCase() !== 'chunked') return { error: UNKNOWN_CODING };
    const { expect } = request.headers;
    if (expect !== undefined && expect.toLowerCase() !== '100-continue')
      return { error: UNKNOWN_EXPECTATION };
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

/** A proxy in front may have gone by the other one (RFC 9112 §3.2). @param rawHeaders Names and values in turn. */
function hasTwoHosts(rawHeaders: readonly string[]): boolean {
  let has = false;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name?.length !== 4 || name.toLowerCase() !== 'host') continue;
    if (has) return true;
    has = true;
  }
  return false;
}

function forbidden(): ApiError {
  return new ApiError('permission_error', 'This gateway does not serve your network address.');
}

const NO_TUNNELS = new ApiError(
  'invalid_request_error',
  'This gateway is no proxy: CONNECT is not possible here.',
  {
    status: 405,
  },
);
const NO_TRACES = new ApiError('invalid_request_error', 'TRACE is not possible here.', { status: 405 });
const UNKNOWN_EXPECTATION = new ApiError('invalid_request_error', 'Expect: only 100-continue is possible.', {
  status: 417,
});
const TWO_HOSTS = new ApiError('invalid_request_error', 'The request has more than one Host.');
const UNKNOWN_CODING = new ApiError('not_supported', 'Transfer-Encoding: only chunked is possible.');
