import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { Attempt, metClosingConnection, type AttemptEvents, type AttemptFailure } from './attempt.ts';
import { belongsToAccount, lacksEndpoint } from './provider-error.ts';
import type { Relay } from './relay.ts';
import type { InferencePath, InferenceRequest, PreparedRequest, Upstream } from './upstream.ts';

/** One entry of the chain: an upstream, and what the model is called there. */
export interface Candidate {
  readonly upstream: Upstream;
  readonly model: string;
}

/** A failure with the upstream that it happened at. */
export interface NamedFailure extends AttemptFailure {
  readonly upstream: string;
}

export interface FailoverEvents {
  onRelaying(upstream: string, status: number, headers: IncomingHttpHeaders): void;
  /** @param error Why the upstream broke off; absent when the answer is complete. */
  onRelayed(error?: Error): void;
  /** One upstream failed; the next one is tried, or one of the two calls below follows. */
  onFailure(failure: NamedFailure): void;
  /**
   * The upstream had the request and gave no answer. Asked before it goes out again, to this one or the next.
   *
   * @returns whether it may.
   */
  onLost(failure: NamedFailure): boolean | Promise<boolean>;
  /** The next upstream is asked instead. */
  onFailover(failure: NamedFailure): void;
  /** The upstream refused the request itself: no other upstream would take it. */
  onRefused(failure: NamedFailure): void;
  /** @param failures One for each upstream, in order; never empty. */
  onExhausted(failures: readonly NamedFailure[]): void;
}

/**
 * Whether another upstream may do better: it is this one that is out of capacity (429, 529), broken (5xx), not
 * serving the model (404) or the endpoint, or refusing the gateway's credential (401, 403) or its account (402, and what
 * {@link belongsToAccount} knows). Redirects are nothing to follow with a credential and count as broken. So do 408 and 424,
 * which say that a model took too long or failed. All other 4xx belong to the request.
 */
export function failsOver(failure: AttemptFailure, path: InferencePath): boolean {
  const { status } = failure;
  if (status === undefined || status < 400 || status >= 500) return true;
  if (FAILING_OVER.has(status) || belongsToAccount(failure)) return true;
  return path === '/v1/messages/count_tokens' && lacksEndpoint(failure);
}

const FAILING_OVER: ReadonlySet<number> = new Set([401, 402, 403, 404, 408, 424, 429]);

/** Tries the candidates in order until one of them answers. */
export class Failover {
  readonly #dispatcher: Dispatcher;
  readonly #request: InferenceRequest;
  readonly #candidates: readonly Candidate[];
  readonly #relay: Relay;
  readonly #events: FailoverEvents;
  readonly #ttfbMs: number;
  readonly #failures: NamedFailure[] = [];
  #attempt: Attempt | undefined;
  #aborted = false;
  #abandoned = false;

  /** @param candidates At least one. */
  constructor(
    dispatcher: Dispatcher,
    request: InferenceRequest,
    candidates: readonly Candidate[],
    relay: Relay,
    events: FailoverEvents,
    ttfbMs: number,
  ) {
    this.#dispatcher = dispatcher;
    this.#request = request;
    this.#candidates = candidates;
    this.#relay = relay;
    this.#events = events;
    this.#ttfbMs = ttfbMs;
  }

  start(): void {
    this.#try(0, false);
  }

  /** The upstream that has the request now: what it does with it can only be guessed. */
  get current(): string | undefined {
    return this.#attempt?.sent === true ? this.#attempt.upstream : undefined;
  }

  /** The client has gone: the attempt under way is the last one. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** Whatever is under way is given up, and no event follows. */
  abort(): void {
    this.#aborted = true;
    this.#attempt?.abort();
  }

  #try(index: number, again: boolean): void {
    const candidate = this.#candidates[index];
    if (candidate === undefined) {
      this.#events.onExhausted(this.#failures);
      return;
    }
    let prepared: PreparedRequest | Promise<PreparedRequest>;
    try {
      prepared = candidate.upstream.prepare(this.#request, candidate.model);
    } catch (error) {
      this.#failed(index, again, { error: asError(error), lost: false, afterMs: 0 });
      return;
    }
    // A promise only where a credential has to be fetched: most requests go out in this very turn.
    if (!(prepared instanceof Promise)) {
      this.#send(index, again, prepared);
      return;
    }
    prepared.then(
      (request) => {
        if (!this.#aborted) this.#send(index, again, request);
      },
      (error: unknown) => this.#failed(index, again, { error: asError(error), lost: false, afterMs: 0 }),
    );
  }

  #send(index: number, again: boolean, prepared: PreparedRequest): void {
    const upstream = this.#candidates[index]?.upstream.name ?? '';
    const events: AttemptEvents = {
      onRelaying: (status, headers) => this.#events.onRelaying(upstream, status, headers),
      onRelayed: (error) => this.#events.onRelayed(error),
      onFailure: (failure) => this.#failed(index, again, failure),
    };
    this.#attempt = new Attempt(upstream, this.#relay, events, this.#ttfbMs);
    this.#attempt.send(this.#dispatcher, prepared);
  }

  #failed(index: number, again: boolean, failure: AttemptFailure): void {
    const candidate = this.#candidates[index];
    if (this.#aborted || candidate === undefined) return;
    const named: NamedFailure = { ...failure, upstream: candidate.upstream.name };
    const curable =
      failure.status === 401 ? candidate.upstream.credentialRefused?.() : metClosingConnection(failure);
    if (curable === true && !again && !this.#abandoned) {
      this.#goOn(named, () => this.#try(index, true));
      return;
    }
    this.#events.onFailure(named);
    if (!failsOver(failure, this.#request.path)) {
      this.#events.onRefused(named);
      return;
    }
    this.#failures.push(named);
    if (this.#abandoned || index + 1 >= this.#candidates.length) {
      this.#events.onExhausted(this.#failures);
      return;
    }
    this.#goOn(named, () => {
      this.#events.onFailover(named);
      this.#try(index + 1, false);
    });
  }

  /** Sends the request out again, if that is allowed after what has become of it. */
  #goOn(failure: NamedFailure, next: () => void): void {
    const allowed = failure.lost ? this.#events.onLost(failure) : true;
    const decide = (may: boolean): void => {
      if (this.#aborted) return;
      if (may && !this.#abandoned) {
        next();
        return;
      }
      if (!this.#failures.includes(failure)) {
        this.#events.onFailure(failure);
        this.#failures.push(failure);
      }
      this.#events.onExhausted(this.#failures);
    };
    if (allowed instanceof Promise) void allowed.then(decide);
    else decide(allowed);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
