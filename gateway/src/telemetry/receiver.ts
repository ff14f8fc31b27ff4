import type { IncomingMessage, ServerResponse } from 'node:http';
import { contextOf } from '../http/context.ts';
import { ApiError, sendApiError } from '../http/errors.ts';

/** Paths of OTLP/HTTP, by signal. Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp-request */
const SIGNALS = new Set(['/v1/metrics', '/v1/logs', '/v1/traces']);

/** Whether this path is one that OpenTelemetry exporters post to. */
export function isTelemetryPath(path: string): boolean {
  return SIGNALS.has(path);
}

/**
 * Accepts an export of an authenticated client and discards it: no destination is configured. The answer is the
 * empty success of OTLP in the encoding of the request, since an exporter that is told anything else logs an error
 * on every flush.
 *
 * @param maxBytes Of the body, as it travels; a longer one gets 413.
 */
export function discardExport(request: IncomingMessage, response: ServerResponse, maxBytes: number): void {
  let received = 0;
  const refuse = (): void => {
    request.off('data', count).off('end', answer);
    const message = `The export is larger than this gateway accepts (${maxBytes} bytes, limits.max_request_bytes).`;
    sendApiError(response, new ApiError('request_too_large', message), contextOf(request).id);
  };
  const count = (chunk: Buffer): void => {
    received += chunk.length;
    if (received > maxBytes) refuse();
  };
  const json = request.headers['content-type']?.startsWith('application/json') ?? false;
  request.on('error', () => response.destroy());
  const answer = (): void => {
    response.writeHead(200, {
      'content-type': json ? 'application/json' : 'application/x-protobuf',
      'content-length': json ? 2 : 0,
    });
    response.end(json ? '{}' : undefined);
  };
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
    refuse();
    return;
  }
  request.once('end', answer);
  request.on('data', count);
}
