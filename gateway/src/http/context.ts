import type { IncomingMessage } from 'node:http';
import type { Log } from '../observe/log.ts';
import type { AddressSet } from './client-address.ts';
import type { ApiError } from './errors.ts';

/** What a request takes of this process, and whose it is. */
export interface RequestTraffic {
  /**
   * Asked for whoever is served without saying first who it is.
   *
   * @throws ApiError (429) when their network has too many requests under way.
   */
  admitAnonymous(): void;
  /**
   * It is known who asks: from here on the request counts as theirs.
   *
   * @throws ApiError (429) when they have too many requests in flight.
   */
  identified(person: string): void;
  /**
   * Makes room for the body, before any of it is read. It is given back when the answer is over.
   *
   * @param bytes As declared, or the most that will be read.
   * @throws ApiError (503) when there is none.
   */
  reserveBody(bytes: number): void;
  /** Who answers when the body does not come in time; the listener itself when absent. */
  onBodyRefused: ((error: ApiError) => void) | undefined;
}

/** What the listener knows about a request before any room sees it. */
export interface RequestContext {
  /** `req_…`: ours, given to the client as `request-id` and written to every line about this request. */
  readonly id: string;
  /** The client's address after `listen.trusted_proxies` was applied. */
  readonly clientAddress: string;
  /** `listen.trusted_proxies`; absent: none. */
  readonly trustedProxies?: AddressSet;
  readonly log: Log;
  /** When the request arrived: `performance.now()`, in ms. */
  readonly startedAt: number;
  /** Path and query as they came: routers change `request.url` on their way. */
  readonly target?: string;
  /** Absent where no listener is in front. */
  readonly traffic?: RequestTraffic;
}

const CONTEXT = Symbol('request context');

type WithContext = IncomingMessage & { [CONTEXT]?: RequestContext };

export function setContext(request: IncomingMessage, context: RequestContext): void {
  (request as WithContext)[CONTEXT] = context;
}

/** The context that the listener attached. @throws Error when the request did not come through the listener. */
export function contextOf(request: IncomingMessage): RequestContext {
  const context = (request as WithContext)[CONTEXT];
  if (context === undefined) throw new Error('request has no context: it did not come through the listener');
  return context;
}
