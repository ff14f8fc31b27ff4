import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { ErrorInside } from './opening.ts';
import type { Relay } from './relay.ts';
import type { PreparedRequest } from './upstream.ts';

/** Error bodies are small; of a longer one this much is read. */
const MAX_ERROR_BYTES = 64 * 1024;

/** One upstream did not give an answer that can be relayed. */
export interface AttemptFailure {
  /** Absent: there was no response at all. */
  readonly status?: number;
  readonly headers?: IncomingHttpHeaders;
  /** The error body, when it came whole. */
  readonly body?: Buffer;
  /** Why there was no response, or none that counts. Its message may name hosts: for the log only. */
  readonly error?: Error;
  /** The upstream had the request and gave no answer: what it did with it can only be guessed. */
  readonly lost: boolean;
  /** How long the attempt lasted, in ms. */
  readonly afterMs: number;
}

export interface AttemptEvents {
  /** The upstream answers with success; the relay has it from here. It may break off before the first byte all the same. */
  onRelaying(status: number, headers: IncomingHttpHeaders): void;
  /** The relay is over. @param error Why the upstream broke off; absent when the answer is complete. */
  onRelayed(error?: Error): void;
  onFailure(failure: AttemptFailure): void;
}

export class TimeToFirstByteError extends Error {
  override readonly name = 'TimeToFirstByteError';

  constructor(ms: number) {
    super(`no response within ${ms} ms (timeouts.upstream_ttfb_ms)`);
  }
}

/** An answer that broke off before it said anything is none, and neither is one that ends there. */
export class EmptyAnswerError extends Error {
  override readonly name = 'EmptyAnswerError';

  constructor(cause?: Error) {
    super(
      cause === undefined
        ? 'the upstream answered with nothing'
        : 'the upstream broke off before the first byte of its answer',
      { cause },
    );
  }
}

/** The status said success, and the answer is an error. */
export class ErrorInsideError extends Error {
  override readonly name = 'ErrorInsideError';

  constructor(status: number) {
    super(`the answer (HTTP ${status}) began with an error`);
  }
}

type State = 'waiting' | 'collecting' | 'relaying' | 'over';

/**
 * One request to one upstream. Success goes to the relay chunk by chunk; anything else is collected (a little of it)
 * and reported as a failure. Exactly one of `onRelayed` and `onFailure` is called, or none after {@link abort}.
 */
export class Attempt implements Dispatcher.DispatchHandler {
  readonly upstream: string;
  readonly #relay: Relay;
  readonly #events: AttemptEvents;
  readonly #ttfbMs: number;
  #state: State = 'waiting';
  #controller: Dispatcher.DispatchController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #connected = false;
  #head: { status: number; headers: IncomingHttpHeaders } | undefined;
  #chunks: Buffer[] = [];
  #collected = 0;

  constructor(upstream: string, relay: Relay, events: AttemptEvents, ttfbMs: number) {
    this.upstream = upstream;
    this.#relay = relay;
    this.#events = events;
    this.#ttfbMs = ttfbMs;
  }

  send(dispatcher: Dispatcher, request: PreparedRequest): void {
    this.#startedAt = performance.now();
    this.#timer = setTimeout(() => this.#timeOut(), this.#ttfbMs);
    try {
      dispatcher.dispatch(
        {
          origin: request.origin,
          path: request.path,
          method: 'POST',
          headers: request.headers,
          body: request.body,
          headersTimeout: 0,
          bodyTimeout: 0,
        },
        this,
      );
    } catch (error) {
      this.#fail({ error: error as Error });
    }
  }

  /** Whether the upstream has the request, and its answer is not over; an error is no answer. */
  get sent(): boolean {
    return this.#connected && (this.#state === 'waiting' || this.#state === 'relaying');
  }

  /** Nobody waits for it: the upstream is told at once, by closing its connection. */
  abort(): void {
    if (this.#state === 'over') return;
    this.#finish();
    this.#controller?.abort(new Error('nobody waits for this request'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#connected = true;
    // Over before a connection was there: nothing is sent.
    if (this.#state === 'over') controller.abort(new Error('nobody waits for this request'));
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (status < 200 || this.#state !== 'waiting') return;
    this.#head = { status, headers };
    if (status < 300) {
      clearTimeout(this.#timer);
      this.#state = 'relaying';
      this.#events.onRelaying(status, headers);
      this.#relay.begin(controller, status, headers, this.upstream);
      return;
    }
    this.#state = 'collecting';
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === 'relaying') {
      const inside = this.#relay.data(chunk);
      if (inside === undefined) return;
      this.#withdraw(inside);
      controller.abort(new Error('the answer is an error'));
      return;
    }
    if (this.#state !== 'collecting') return;
    this.#collected += chunk.length;
    if (this.#collected <= MAX_ERROR_BYTES) {
      this.#chunks.push(chunk);
      return;
    }
    this.#fail({ ...this.#head });
    controller.abort(new Error('the error body is too long'));
  }

  onResponseEnd(): void {
    if (this.#state === 'relaying') {
      const inside = this.#relay.end();
      if (inside !== undefined) {
        this.#withdraw(inside);
        return;
      }
      this.#finish();
      this.#events.onRelayed();
    } else if (this.#state === 'collecting') {
      this.#fail({ ...this.#head, body: Buffer.concat(this.#chunks) });
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#state === 'relaying' && this.#relay.pending) {
      this.#relay.withdraw();
      this.#fail({ error: new EmptyAnswerError(error) });
    } else if (this.#state === 'relaying') {
      this.#finish();
      this.#relay.cut();
      this.#events.onRelayed(error);
    } else if (this.#state === 'collecting') {
      this.#fail({ ...this.#head, error });
    } else if (this.#state === 'waiting') {
      this.#fail({ error });
    }
  }

  /** Nothing of the answer has gone out: as if the error, or nothing at all, had been answered at once. */
  #withdraw(inside: ErrorInside | 'nothing'): void {
    this.#relay.withdraw();
    if (inside === 'nothing') {
      this.#fail({ ...this.#head, error: new EmptyAnswerError() });
      return;
    }
    const error = new ErrorInsideError(this.#head?.status ?? 200);
    this.#fail({ ...this.#head, ...inside, error });
  }

  #timeOut(): void {
    const error = new TimeToFirstByteError(this.#ttfbMs);
    this.#fail({ ...this.#head, error });
    this.#controller?.abort(error);
  }

  #fail(failure: Omit<AttemptFailure, 'afterMs' | 'lost'>): void {
    if (this.#state === 'over') return;
    this.#finish();
    const lost = this.#connected && failure.status === undefined;
    this.#events.onFailure({ ...failure, lost, afterMs: performance.now() - this.#startedAt });
  }

  #finish(): void {
    clearTimeout(this.#timer);
    this.#state = 'over';
    this.#chunks = [];
  }
}

/** A connection that the upstream was closing fails at once; what fails later may have been worked on. */
const CLOSING_MS = 1000;
const CLOSED_CODES = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/**
 * Whether a request most likely met a kept-alive connection that the upstream was closing just then: it was not
 * processed, and a fresh connection will do.
 */
export function metClosingConnection({ status, error, afterMs }: AttemptFailure): boolean {
  if (status !== undefined || error === undefined || afterMs > CLOSING_MS) return false;
  return CLOSED_CODES.has((error as NodeJS.ErrnoException).code ?? '');
}
