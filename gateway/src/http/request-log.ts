import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestContext } from './context.ts';
import { loggedPath } from './request-target.ts';

/**
 * One log line once the answer is out, for every request but inference, which writes a richer one, and probes, which
 * say the same every few seconds. The query is left out: it carries codes.
 */
export function logWhenAnswered(
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
): void {
  const write = (): void => {
    context.log.info(
      {
        request_id: context.id,
        client_ip: context.clientAddress,
        method: request.method,
        path: loggedPath(context.target ?? request.url ?? ''),
        // What nginx writes for a client that went before it was answered.
        status: response.headersSent ? response.statusCode : 499,
        ms: Math.round(performance.now() - context.startedAt),
      },
      'request',
    );
  };
  if (response.destroyed) write();
  else response.once('close', write);
}

/** An id of the client's or of a proxy in front, as far as it is fit for a log line. */
export function clientRequestId(request: IncomingMessage): string | undefined {
  const value = request.headers['x-request-id'] ?? request.headers['x-client-request-id'];
  return typeof value === 'string' && /^[\w.:/+=-]{1,128}$/.test(value) ? value : undefined;
}
