import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ApiError } from './errors.ts';

/** How long a client has to read the answer and to close. */
const CLOSE_WITHIN_MS = 5_000;

export function newRequestId(): string {
  return `req_${randomUUID().replaceAll('-', '')}`;
}

/** Answers on a bare socket, where there is no request to answer, and closes it. */
export function answerAndClose(socket: Duplex, error: ApiError): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const id = newRequestId();
  const body = error.toBody(id);
  const headers = Object.entries(error.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
  // Whoever never closes their side is not waited for.
  const timer = setTimeout(() => socket.destroy(), CLOSE_WITHIN_MS).unref();
  socket.once('close', () => clearTimeout(timer));
  socket.on('error', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\n` +
      `content-type: application/json\r\nrequest-id: ${id}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `${headers.join('')}connection: close\r\n\r\n${body}`,
  );
}
