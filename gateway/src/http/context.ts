import type { IncomingMessage } from 'node:http';
import type { Log } from '../observe/log.ts';

/** What the listener knows about a request before any room sees it. */
export interface RequestContext {
  /** `req_…`: ours, given to the client as `request-id` and written to every line about this request. */
  readonly id: string;
  /** The client's address after `listen.trusted_proxies` was applied. */
  readonly clientAddress: string;
  readonly log: Log;
  /** When the request arrived: `performance.now()`, in ms. */
  readonly startedAt: number;
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
