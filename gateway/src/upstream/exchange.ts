import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { RequestContext } from '../http/context.ts';
import { ApiError, sendApiError } from '../http/errors.ts';
import { describeNetworkError } from '../net/http-client.ts';
import type { Principal } from '../principal.ts';
import { Failover, type Candidate, type FailoverEvents, type NamedFailure } from './failover.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { Admission, InferenceDeps } from './inference.ts';
import {
  letsUpstreamChoose,
  namedModelsOf,
  relocated,
  withoutChoice,
  type NamedModel,
} from './other-models.ts';
import { outcomeOf } from './outcome.ts';
import { accountWordsOf, remedyOf } from './provider-error.ts';
import { asksForStream, modelOf, understand, type UnderstoodBody } from './received-body.ts';
import { refusalOf, refusalOfChain, type Refusal } from './refusal.ts';
import { Relay, type Reached, type RelayEnding, type ResponseEnd, type ResponseObserver } from './relay.ts';
import { readBody } from './request-body.ts';
import type { InferencePath, InferenceRequest, OtherModel } from './upstream.ts';

/** One request for inference, from its first byte to its log line. */
export class Exchange implements FailoverEvents {
  readonly #deps: InferenceDeps;
  readonly #heartbeat: Heartbeat;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #context: RequestContext;
  readonly #principal: Principal;
  readonly #path: InferencePath;
  readonly #query: string;

  #relay: Relay | undefined;
  #failover: Failover | undefined;
  #observer: ResponseObserver | undefined;
  #ending: RelayEnding = 'client_gone';
  #reached: Reached = 'nowhere';
  #over = false;
  /** The upstream has said its last word. */
  #relayed = false;
  /** The answer is read on though the client has gone; called when that is over. */
  #abandoned: (() => void) | undefined;
  #told = false;
  /** What the client had seen when it went. */
  #left: Pick<ResponseEnd, 'status' | 'firstByteMs' | 'durationMs'> | undefined;

  #streamed = false;
  #model: string | null = null;
  #upstream: string | null = null;
  #upstreamRequestId: string | null = null;
  #requestBytes = 0;
  #firstByteMs: number | null = null;

  constructor(
    deps: InferenceDeps,
    heartbeat: Heartbeat,
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    principal: Principal,
  ) {
    this.#deps = deps;
    this.#heartbeat = heartbeat;
    this.#request = request;
    this.#response = response;
    this.#context = context;
    this.#principal = principal;
    const target = request.url ?? '';
    const mark = target.indexOf('?');
    this.#path = (mark === -1 ? target : target.slice(0, mark)) as InferencePath;
    this.#query = mark === -1 ? '' : target.slice(mark);
  }

  start(): void {
    this.#response.once('close', () => this.#closed());
    if (this.#request.method !== 'POST') {
      const headers = { allow: 'POST' };
      this.#refuse(
        new ApiError('invalid_request_error', `Use POST with ${this.#path}.`, { status: 405, headers }),
      );
      return;
    }
    const limits = {
      maxBytes: this.#deps.limits.max_request_bytes,
      stallMs: this.#deps.bodyStallMs ?? 30_000,
    };
    readBody(this.#request, limits, this.#context.traffic, (result) => {
      if (result instanceof ApiError) this.#refuse(result);
      else this.#guard(() => this.#dispatch(result));
    });
  }

  onRelaying(upstream: string, _status: number, headers: IncomingHttpHeaders): void {
    this.#reached = 'answered';
    this.#upstream = upstream;
    this.#upstreamRequestId = requestIdOf(headers);
    this.#firstByteMs = this.#elapsed();
  }

  onRelayed(error?: Error): void {
    this.#relayed = true;
    if (this.#over) {
      this.#endAbandoned();
      return;
    }
    this.#ending = error === undefined ? 'complete' : 'upstream_cut';
    this.#deps.counts?.attempted(this.#upstream ?? '', error === undefined ? 'success' : 'interrupted');
    if (error === undefined) return;
    this.#context.log.warn(
      { request_id: this.#context.id, upstream: this.#upstream, error: describeNetworkError(error) },
      'upstream broke off in mid-response',
    );
  }

  onFailure(failure: NamedFailure): void {
    this.#lose(failure);
    if (!this.#over) this.#deps.counts?.attempted(failure.upstream, outcomeOf(failure));
    this.#context.log.warn(
      {
        request_id: this.#context.id,
        upstream: failure.upstream,
        status: failure.status,
        upstream_request_id: failure.headers === undefined ? undefined : requestIdOf(failure.headers),
        error: failure.error === undefined ? undefined : describeNetworkError(failure.error),
        remedy: remedyOf(failure),
        provider_says: accountWordsOf(failure),
        ms: Math.round(failure.afterMs),
      },
      'upstream failed',
    );
  }

  onLost(failure: NamedFailure): boolean | Promise<boolean> {
    const allowed = this.#observer?.onLost?.(failure.upstream, this.#streamed) ?? true;
    this.#lose(failure);
    const forget = (may: boolean): boolean => {
      // What it cost there is settled; what follows stands for itself.
      if (may && !this.#over) this.#lose({ ...failure, lost: false });
      return may;
    };
    return allowed instanceof Promise ? allowed.then(forget) : forget(allowed);
  }

  onFailover({ upstream }: NamedFailure): void {
    this.#deps.counts?.failedOver(upstream);
  }

  onRefused(failure: NamedFailure): void {
    this.#reached = 'declined';
    this.#upstream = failure.upstream;
    this.#upstreamRequestId = failure.headers === undefined ? null : requestIdOf(failure.headers);
    if (this.#over) this.#endAbandoned();
    else this.#answer(refusalOf(failure, this.#path));
  }

  onExhausted(failures: readonly NamedFailure[]): void {
    if (this.#over) this.#endAbandoned();
    else this.#answer(refusalOfChain(failures, this.#path));
  }

  /** An attempt is over without an answer. */
  #lose({ lost, upstream }: NamedFailure): void {
    this.#reached = lost ? 'unanswered' : 'nowhere';
    this.#upstream = lost ? upstream : null;
    this.#upstreamRequestId = null;
    this.#firstByteMs = null;
  }

  /** A defect of ours must not leave the client waiting. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    if (error instanceof ApiError) {
      this.#refuse(error);
      return;
    }
    this.#context.log.error({ err: error, request_id: this.#context.id }, 'inference failed');
    this.#refuse(
      new ApiError('api_error', `The gateway failed to handle this request (${this.#context.id}).`),
    );
  }

  #dispatch(received: Buffer): void {
    const { deps, principal, context } = {
      deps: this.#deps,
      principal: this.#principal,
      context: this.#context,
    };
    this.#requestBytes = received.length;
    const understood = this.#understand(received);
    const { body, fields } = understood;
    const requestedModel = modelOf(body, fields);
    const { canonical } = deps.policy.checkModel(principal, requestedModel);
    this.#model = canonical;
    const otherModels = this.#otherModels(understood);
    const candidates = this.#candidates(canonical, otherModels);
    const request: InferenceRequest = {
      path: this.#path,
      query: this.#query,
      headers: this.#request.headers,
      ...understood,
      requestedModel,
      otherModels,
      stream: asksForStream(body, fields),
    };
    this.#streamed = request.stream;
    const onGone = (listener: () => void): void => void this.#response.once('close', listener);
    const call = { context, principal, request, model: canonical, candidates, onGone };
    const admission = this.#path === '/v1/messages' ? deps.admission?.admit(call) : undefined;
    if (!(admission instanceof Promise)) {
      this.#send(request, candidates, admission);
      return;
    }
    admission.then(
      (admitted) => this.#guard(() => this.#send(request, candidates, admitted)),
      (error: unknown) => this.#fail(error),
    );
  }

  #send(call: InferenceRequest, candidates: readonly Candidate[], admission: Admission | undefined): void {
    this.#observer = admission?.observer;
    if (this.#over) {
      this.#tellEnd();
      return;
    }
    const deps = this.#deps;
    const request = admission?.body === undefined ? call : withBody(call, admission.body);
    const { upstream_idle_ms: idleMs = 0, upstream_pings_only_ms: pingsOnlyMs = 0 } = deps.timeouts;
    this.#relay = new Relay(this.#response, this.#heartbeat, this.#observer, { idleMs, pingsOnlyMs });
    this.#failover = new Failover(
      deps.dispatcher,
      request,
      candidates,
      this.#relay,
      this,
      deps.timeouts.upstream_ttfb_ms,
    );
    this.#failover.start();
  }

  /** @throws ApiError (400) for a body that cannot be relayed as it is. */
  #understand(received: Buffer): UnderstoodBody {
    const understood = understand(received);
    if (!letsUpstreamChoose(understood) || this.#deps.policy.allowsEveryModel(this.#principal)) {
      return understood;
    }
    return withoutChoice(understood);
  }

  /** @throws ApiError (400) when the caller may not use one of the models that the request names besides. */
  #otherModels(understood: UnderstoodBody): readonly OtherModel[] {
    const { policy, upstreams } = this.#deps;
    return namedModelsOf(understood).map((named) => {
      const canonical = this.#canonical(named);
      const upstreamModels = new Map<string, string>();
      for (const { name, provider } of upstreams) {
        const model = policy.upstreamModel(canonical, name, provider);
        if (model !== undefined) upstreamModels.set(name, model);
      }
      return { ...named, canonical, upstreamModels };
    });
  }

  #canonical({ path, requested }: NamedModel): string {
    try {
      return this.#deps.policy.checkModel(this.#principal, requested).canonical;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      throw new ApiError(error.type, `${path}: ${error.message}`, { cause: error });
    }
  }

  /** @throws ApiError when no upstream serves the model, or all that the request names. */
  #candidates(model: string, others: readonly OtherModel[]): Candidate[] {
    const candidates: Candidate[] = [];
    for (const upstream of this.#deps.upstreams) {
      const name = this.#deps.policy.upstreamModel(model, upstream.name, upstream.provider);
      const servesOthers = others.every(({ upstreamModels }) => upstreamModels.has(upstream.name));
      if (name !== undefined && servesOthers) candidates.push({ upstream, model: name });
    }
    if (candidates.length === 0) {
      const named = others.map(({ canonical, path }) => ` and ${canonical} (${path})`).join('');
      throw new ApiError(
        'invalid_request_error',
        `No upstream of this gateway serves the model ${model}${named}.`,
      );
    }
    return candidates;
  }

  #answer(refusal: Refusal): void {
    if (refusal.kind === 'ours') {
      this.#refuse(refusal.error);
      return;
    }
    this.#ending = 'refused';
    this.#response.writeHead(refusal.status, {
      'content-type': 'application/json',
      'content-length': refusal.body.length,
      ...(refusal.shouldRetry === undefined ? {} : { 'x-should-retry': refusal.shouldRetry }),
    });
    this.#response.end(refusal.body);
  }

  #refuse(error: ApiError): void {
    this.#ending = 'refused';
    sendApiError(this.#response, error, this.#context.id);
  }

  /** Runs once for every request: after the last byte, or when the client has gone. */
  #closed(): void {
    this.#over = true;
    this.#left = this.#seen();
    const finished = this.#response.writableFinished;
    if (!finished && this.#ending !== 'upstream_cut') this.#ending = 'client_gone';
    const waitingFor = this.#reached === 'nowhere' ? this.#failover?.current : undefined;
    if (waitingFor !== undefined) {
      this.#reached = 'unanswered';
      this.#upstream = waitingFor;
    }
    const abandoned = waitingFor ?? (this.#reached === 'answered' && !this.#relayed ? this.#upstream : null);
    if (abandoned !== null) this.#deps.counts?.attempted(abandoned, 'abandoned');
    if (abandoned === null || !this.#readOn()) {
      this.#failover?.abort();
      this.#relay?.release();
      this.#tellEnd();
    }

    const { durationMs, firstByteMs, status } = this.#left;
    this.#deps.counts?.ended(this.#streamed, this.#ending, firstByteMs, durationMs);

    const { id, clientAddress, log } = this.#context;
    const line = {
      request_id: id,
      sub: this.#principal.sub,
      path: this.#path,
      model: this.#model,
      upstream: this.#upstream,
      upstream_request_id: this.#upstreamRequestId,
      status,
      ms: Math.round(durationMs),
    };
    this.#deps.audit('inference', {
      ...line,
      email: this.#principal.email ?? null,
      client_ip: clientAddress,
    });
    log.info(
      {
        ...line,
        ending: this.#ending,
        first_byte_ms: firstByteMs === null ? null : Math.round(firstByteMs),
        request_bytes: this.#requestBytes,
        response_bytes: this.#relay?.bytes ?? 0,
      },
      'inference',
    );
  }

  /** Reads the upstream's answer on to its end, for what it counts. @returns false where that is not to be, or full. */
  #readOn(): boolean {
    const reads = this.#deps.abandonedReads;
    if (this.#observer === undefined || reads === undefined) return false;
    this.#abandoned = reads.keep({
      sub: this.#principal.sub,
      requestBytes: this.#requestBytes,
      withinMs: this.#deps.abandonedReadMs ?? 0,
      giveUp: () => {
        this.#failover?.abort();
        this.#endAbandoned();
      },
    });
    if (this.#abandoned === undefined) return false;
    this.#failover?.abandon();
    this.#relay?.discard();
    return true;
  }

  #endAbandoned(): void {
    this.#abandoned?.();
    this.#tellEnd();
  }

  #tellEnd(): void {
    if (this.#told || this.#observer === undefined) return;
    this.#told = true;
    this.#observer.onResponseEnd?.({
      ending: this.#ending,
      reached: this.#reached,
      upstream: this.#upstream,
      streamed: this.#streamed,
      ...(this.#left ?? this.#seen()),
    });
  }

  /** What the client has seen up to now. */
  #seen(): Pick<ResponseEnd, 'status' | 'firstByteMs' | 'durationMs'> {
    return { status: this.#status, firstByteMs: this.#firstByteMs, durationMs: this.#elapsed() };
  }

  get #status(): number {
    // What nginx writes for a client that went before it was answered.
    return this.#response.headersSent ? this.#response.statusCode : 499;
  }

  #elapsed(): number {
    return performance.now() - this.#context.startedAt;
  }
}

/** The same request with a body of the same members. */
function withBody(request: InferenceRequest, body: Buffer): InferenceRequest {
  const understood = understand(body);
  return { ...request, ...understood, otherModels: relocated(request.otherModels, understood) };
}

function requestIdOf(headers: IncomingHttpHeaders): string | null {
  const id = headers['request-id'] ?? headers['x-request-id'];
  return typeof id === 'string' ? id.slice(0, 200) : null;
}
