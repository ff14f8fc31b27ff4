import type { Duplex } from 'node:stream';
import { ApiError } from './errors.ts';
import { answerAndClose } from './raw-answer.ts';

const TIMED_OUT = 'ERR_HTTP_REQUEST_TIMEOUT';

const CLIENT_ERRORS: Readonly<Record<string, ApiError>> = {
  HPE_HEADER_OVERFLOW: new ApiError(
    'invalid_request_error',
    'The request headers are larger than this gateway accepts (limits.max_request_header_bytes).',
    { status: 431 },
  ),
  [TIMED_OUT]: new ApiError('invalid_request_error', 'The request did not arrive in time.', { status: 408 }),
};
const BAD_REQUEST = new ApiError('invalid_request_error', 'The request is not valid HTTP/1.1.');

/** Whether somebody was too slow, and did not just send nonsense. */
export function isTimeout(error: NodeJS.ErrnoException): boolean {
  return error.code === TIMED_OUT;
}

/**
 * What a client sent cannot be understood.
 *
 * @param isAnswering An answer runs over this connection, or is owed: a second one would be read as part of it.
 */
export function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex, isAnswering: boolean): void {
  if (isAnswering || error.code === 'ECONNRESET') socket.destroy();
  else answerAndClose(socket, CLIENT_ERRORS[error.code ?? ''] ?? BAD_REQUEST);
}
