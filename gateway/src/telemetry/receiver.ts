import type { IncomingMessage, ServerResponse } from 'node:http';

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
 */
export function discardExport(request: IncomingMessage, response: ServerResponse): void {
  const json = request.headers['content-type']?.startsWith('application/json') ?? false;
  request.on('error', () => response.destroy());
  request.on('end', () => {
    response.writeHead(200, {
      'content-type': json ? 'application/json' : 'application/x-protobuf',
      'content-length': json ? 2 : 0,
    });
    response.end(json ? '{}' : undefined);
  });
  request.resume();
}
