import type { IncomingMessage } from 'node:http';
import { ApiError } from '../http/errors.ts';

export interface BodyLimits {
  /** limits.max_request_bytes. */
  readonly maxBytes: number;
  /** How long the client may pause while it sends. */
  readonly stallMs: number;
}

/**
 * Reads a whole request body. It must say its length beforehand: clients of this API do, and a body that is too long
 * can so be refused before any of it is kept.
 *
 * @param done Called once with the body or with the refusal (400, 408, 411, 413); never when the client goes first.
 */
export function readBody(
  request: IncomingMessage,
  limits: BodyLimits,
  done: (result: Buffer | ApiError) => void,
): void {
  const declared = request.headers['content-length'];
  if (declared === undefined) {
    done(
      request.headers['transfer-encoding'] === undefined
        ? new ApiError('invalid_request_error', 'The request body is empty; send a JSON object.')
        : new ApiError('invalid_request_error', 'The request needs a Content-Length.', { status: 411 }),
    );
    return;
  }
  const length = Number(declared);
  if (length > limits.maxBytes) {
    done(
      new ApiError(
        'request_too_large',
        `The request body is larger than this gateway accepts (${limits.maxBytes} bytes, limits.max_request_bytes).`,
      ),
    );
    return;
  }

  const chunks: Buffer[] = [];
  const stalled = setTimeout(() => {
    request.off('data', onData).off('end', onEnd);
    done(new ApiError('invalid_request_error', 'The request body did not arrive in time.', { status: 408 }));
  }, limits.stallMs);
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk);
    stalled.refresh();
  };
  const onEnd = (): void => {
    clearTimeout(stalled);
    done(join(chunks, length));
  };
  request.on('data', onData);
  request.once('end', onEnd);
  request.once('close', () => clearTimeout(stalled));
}

/**
 * The chunks in one piece. Their memory is given back at once: it is much, and left to the garbage collector it would
 * bring a full collection about for every hundred large requests.
 */
function join(chunks: readonly Buffer[], length: number): Buffer {
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  const body = Buffer.concat(chunks, length);
  for (const { buffer, byteLength } of chunks) {
    // Only what belongs to nobody else: small chunks may be cut from shared memory.
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
  }
  return body;
}

/** How long a client whose request was refused may go on sending a body that nobody reads. */
const DISCARD_MS = 5_000;

/**
 * Throws the rest of a refused request's body away, so that the client gets to read the answer, but not for long.
 * For after the answer was sent.
 */
export function discardBody(request: IncomingMessage): void {
  if (request.complete) return;
  const timer = setTimeout(() => request.socket.destroy(), DISCARD_MS).unref();
  request.once('close', () => clearTimeout(timer));
  request.once('end', () => clearTimeout(timer));
  request.resume();
}
