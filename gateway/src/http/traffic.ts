import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Log } from '../observe/log.ts';
import { BodyBudget } from './body-budget.ts';
import { clientNetwork } from './client-address.ts';
import type { RequestTraffic } from './context.ts';
import { ApiError, sendApiError } from './errors.ts';
import { InFlight, type Entry } from './in-flight.ts';
import { Shedding, type ShedReason } from './shedding.ts';
import { TallyByKey } from './tally-by-key.ts';
import type { TrafficLimits } from './traffic-limits.ts';

/** When to ask again, in seconds: streams end, and bodies are let go of, all the time. */
const RETRY_SECONDS = '2';

/** The requests under way, and what they may take of this process. */
export class Traffic {
  readonly inFlight = new InFlight<TrackedRequest>();
  readonly shedding: Shedding;
  readonly budget = new BodyBudget();
  readonly byPerson = new TallyByKey();
  readonly byNetwork = new TallyByKey();
  limits: TrafficLimits;

  constructor(limits: TrafficLimits, log: Log, count?: (reason: ShedReason) => void) {
    this.limits = limits;
    this.shedding = new Shedding(log, count);
  }

  /** Counts a request from here to the end of its answer. */
  track(request: IncomingMessage, response: ServerResponse, id: string, address: string): TrackedRequest {
    return new TrackedRequest(this, request, response, id, address);
  }

  /** Cuts off clients that neither send nor take what is theirs. To be called about once a second. @param now `performance.now()` */
  sweep(now: number): void {
    for (const tracked of this.inFlight) tracked.check(now);
  }
}

/** One request under way. */
export class TrackedRequest implements RequestTraffic, Entry<TrackedRequest> {
  before: TrackedRequest | undefined;
  after: TrackedRequest | undefined;
  onBodyRefused: ((error: ApiError) => void) | undefined;
  readonly response: ServerResponse;
  readonly #traffic: Traffic;
  readonly #request: IncomingMessage;
  readonly #id: string;
  readonly #address: string;
  /** Absent once it is known who asks. */
  #network: string | undefined;
  #person: string | undefined;
  #reserved = 0;
  /** Who has reserved; the person may become known in between. */
  #reservedFor: string | undefined;
  readonly #startedAt = performance.now();
  readonly #readAtStart: number;
  #written = 0;
  /** Since when the client has taken nothing; 0 while it does. */
  #stalledAt = 0;
  #ended = false;

  constructor(
    traffic: Traffic,
    request: IncomingMessage,
    response: ServerResponse,
    id: string,
    address: string,
  ) {
    this.#traffic = traffic;
    this.#request = request;
    this.response = response;
    this.#id = id;
    this.#address = address;
    this.#network = clientNetwork(address);
    this.#readAtStart = request.socket.bytesRead;
    traffic.byNetwork.add(this.#network, 1);
    traffic.inFlight.add(this);
  }

  admitAnonymous(): void {
    const most = this.#traffic.limits.maxInFlightPerAddress;
    if (most === 0 || this.#network === undefined || this.#traffic.byNetwork.of(this.#network) <= most)
      return;
    this.#shed('in_flight_per_address', 'limits.max_requests_in_flight_per_address');
    throw new ApiError(
      'rate_limit_error',
      'Too many requests of your network address are waiting for an answer; try again in a moment.',
      { headers: { 'retry-after': RETRY_SECONDS, 'x-should-retry': 'true' } },
    );
  }

  /** Whether the body is still to come, and the answer too. */
  get awaitsBody(): boolean {
    return !this.#request.complete && !this.response.headersSent;
  }

  identified(person: string): void {
    // Also when it is over: what is taken then would never be given back.
    if (this.#network === undefined) return;
    const { byPerson, byNetwork, limits } = this.#traffic;
    byNetwork.add(this.#network, -1);
    this.#network = undefined;
    this.#person = person;
    byPerson.add(person, 1);
    if (limits.maxInFlightPerPerson === 0 || byPerson.of(person) <= limits.maxInFlightPerPerson) return;
    this.#shed('in_flight_per_person', 'limits.max_requests_in_flight_per_person');
    throw new ApiError(
      'rate_limit_error',
      `You have ${limits.maxInFlightPerPerson} requests under way at this gateway, which is as many as it takes of one person at a time; try again in a moment.`,
      { headers: { 'retry-after': RETRY_SECONDS, 'x-should-retry': 'true' } },
    );
  }

  reserveBody(bytes: number): void {
    if (this.#ended) return;
    const { budget, limits } = this.#traffic;
    const result = budget.take(bytes, this.#person, limits);
    if (result === 'taken') {
      this.#reserved = bytes;
      this.#reservedFor = this.#person;
      return;
    }
    this.#shed(
      result === 'person' ? 'buffered_bytes_per_person' : 'buffered_bytes',
      'limits.max_buffered_request_bytes',
    );
    throw new ApiError(
      'overloaded_error',
      result === 'person'
        ? 'Your requests under way take as much of this gateway as those of one person may; try again in a moment.'
        : 'This gateway has no room for another request of this size; try again in a moment.',
      { status: 503, headers: { 'retry-after': RETRY_SECONDS, 'x-should-retry': 'true' } },
    );
  }

  /** The answer is over: gives everything back, and sees to what the client may still be sending. */
  end(): void {
    const { inFlight, byNetwork, byPerson, budget } = this.#traffic;
    this.#ended = true;
    inFlight.delete(this);
    if (this.#network !== undefined) byNetwork.add(this.#network, -1);
    this.#network = undefined;
    if (this.#person !== undefined) byPerson.add(this.#person, -1);
    if (this.#reserved > 0) budget.giveBack(this.#reserved, this.#reservedFor);
    if (!this.#request.complete) discardBody(this.#request, this.#traffic.limits.discardMs);
  }

  /** @param now `performance.now()` */
  check(now: number): void {
    if (!this.#request.complete) this.#checkBody(now - this.#startedAt);
    else if (this.response.headersSent) this.#checkReader(now);
  }

  #checkBody(elapsedMs: number): void {
    const { response } = this;
    if (response.headersSent) return;
    const { bodyMs, bodyGraceMs, minBodyBytesPerSecond } = this.#traffic.limits;
    const received = this.#request.socket.bytesRead - this.#readAtStart;
    const isSlow = received < (minBodyBytesPerSecond * (elapsedMs - bodyGraceMs)) / 1000;
    if (elapsedMs <= bodyMs && !isSlow) return;
    this.#shed('slow_body', isSlow ? 'limits.min_request_bytes_per_second' : 'timeouts.request_body_ms');
    const error = new ApiError('invalid_request_error', 'The request body did not arrive in time.', {
      status: 408,
    });
    if (this.onBodyRefused === undefined) sendApiError(response, error, this.#id);
    else this.onBodyRefused(error);
  }

  /** A client that takes nothing would keep an upstream, and what is buffered between the two, for ever. */
  #checkReader(now: number): void {
    const { response } = this;
    const { socket } = response;
    const isWaiting = response.writableNeedDrain || response.writableEnded;
    if (socket === null || !isWaiting || socket.bytesWritten !== this.#written) {
      this.#written = socket?.bytesWritten ?? 0;
      this.#stalledAt = 0;
      return;
    }
    if (this.#stalledAt === 0) this.#stalledAt = now;
    if (now - this.#stalledAt < this.#traffic.limits.clientStallMs) return;
    this.#shed('slow_reader', 'timeouts.client_stall_ms');
    socket.destroy();
  }

  #shed(reason: ShedReason, limit: string): void {
    this.#traffic.shedding.shed(reason, limit, this.#address, this.#person);
  }
}

/** Throws the rest of an answered request's body away, so that the client gets to read the answer, but not for long. */
function discardBody(request: IncomingMessage, forMs: number): void {
  const { socket } = request;
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), forMs).unref();
  const over = (): void => {
    clearTimeout(timer);
    request.off('end', over);
    socket.off('close', over);
  };
  request.once('end', over);
  socket.once('close', over);
  request.resume();
}
