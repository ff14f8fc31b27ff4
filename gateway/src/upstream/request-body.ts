import type { IncomingMessage } from 'node:http';
import type { RequestTraffic } from '../http/context.ts';
import { ApiError } from '../http/errors.ts';

export interface BodyLimits {
  /** limits.max_request_bytes. */
  readonly maxBytes: number;
  /** How long the client may pause while it sends. */
  readonly stallMs: number;
}

/**
 * Reads a whole request body. It must say its length beforehand: clients of this API do, and a body that is too long,
 * or that there is no room for, can so be refused before any of it is kept.
 *
 * @param traffic Where room is made for it; without it there is always room.
 * @param done Called once with the body or with the refusal (400, 408, 411, 413, 503); never when the client goes first.
 */
export function readBody(
  request: IncomingMessage,
  limits: BodyLimits,
  traffic: RequestTraffic | undefined,
  done: (result: Buffer | ApiError) => void,
): void {
  const length = lengthOf(request, limits);
  if (length instanceof ApiError) {
    done(length);
    return;
  }
  try {
    traffic?.reserveBody(length);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    done(error);
    return;
  }
  new BodyReader(request, length, limits.stallMs, traffic, done).start();
}

function lengthOf({ headers }: IncomingMessage, { maxBytes }: BodyLimits): number | ApiError {
  const declared = headers['content-length'];
  if (declared === undefined) {
    return headers['transfer-encoding'] === undefined
      ? new ApiError('invalid_request_error', 'The request body is empty; send a JSON object.')
      : new ApiError('invalid_request_error', 'The request needs a Content-Length.', { status: 411 });
  }
  const length = Number(declared);
  if (length <= maxBytes) return length;
  return new ApiError(
    'request_too_large',
    `The request body is larger than this gateway accepts (${maxBytes} bytes, limits.max_request_bytes).`,
  );
}

/** Puts one body together in memory of exactly its length: what has not come yet takes none. */
class BodyReader {
  readonly #request: IncomingMessage;
  readonly #length: number;
  readonly #stallMs: number;
  readonly #traffic: RequestTraffic | undefined;
  readonly #done: (result: Buffer | ApiError) => void;
  #stalled: NodeJS.Timeout | undefined;
  /** The first piece, which as a rule is the whole. */
  #first: Buffer | undefined;
  #body: Buffer | undefined;
  #received = 0;

  constructor(
    request: IncomingMessage,
    length: number,
    stallMs: number,
    traffic: RequestTraffic | undefined,
    done: (result: Buffer | ApiError) => void,
  ) {
    this.#request = request;
    this.#length = length;
    this.#stallMs = stallMs;
    this.#traffic = traffic;
    this.#done = done;
  }

  start(): void {
    this.#stalled = setTimeout(() => this.#refuse(tooSlow()), this.#stallMs);
    if (this.#traffic !== undefined) this.#traffic.onBodyRefused = (error) => this.#refuse(error);
    this.#request.on('data', this.#onData);
    this.#request.once('end', this.#onEnd);
    this.#request.once('close', () => clearTimeout(this.#stalled));
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#stalled?.refresh();
    if (this.#received === 0) {
      this.#first = chunk;
      this.#received = chunk.length;
      return;
    }
    if (this.#body === undefined) {
      // Not zeroed: the system gives such memory page by page, as it is written to.
      this.#body = Buffer.allocUnsafeSlow(this.#length);
      if (this.#first !== undefined) append(this.#body, this.#first, 0);
      this.#first = undefined;
    }
    this.#received += append(this.#body, chunk, this.#received);
  };

  readonly #onEnd = (): void => {
    this.#stop();
    this.#done(this.#body ?? this.#first ?? Buffer.alloc(0));
  };

  #refuse(error: ApiError): void {
    this.#stop();
    this.#first = undefined;
    this.#body = undefined;
    this.#done(error);
  }

  #stop(): void {
    clearTimeout(this.#stalled);
    this.#request.off('data', this.#onData).off('end', this.#onEnd);
    if (this.#traffic !== undefined) this.#traffic.onBodyRefused = undefined;
  }
}

/**
 * Copies a piece to its place. Its own memory is given back at once: it is much, and left to the garbage collector it
 * would bring a full collection about for every hundred large requests.
 *
 * @returns how long the piece was: it has no length any more.
 */
function append(body: Buffer, chunk: Buffer, at: number): number {
  chunk.copy(body, at);
  const { buffer, byteLength } = chunk;
  // Only what belongs to nobody else: small pieces may be cut from shared memory.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
  return byteLength;
}

function tooSlow(): ApiError {
  return new ApiError('invalid_request_error', 'The request body did not arrive in time.', { status: 408 });
}
