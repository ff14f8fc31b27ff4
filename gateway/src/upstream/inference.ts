import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { RequestContext } from '../http/context.ts';
import type { Audit } from '../observe/audit.ts';
import type { Principal } from '../principal.ts';
import type { AbandonedReads } from './abandoned-reads.ts';
import { Exchange } from './exchange.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Candidate } from './failover.ts';
import type { InferenceCounts } from './outcome.ts';
import type { ResponseObserver } from './relay.ts';
import type { InferencePath, InferenceRequest, Upstream } from './upstream.ts';

/** What inference asks of the model policy. */
export interface ModelPolicy {
  /**
   * Whether this caller may use this model.
   *
   * @param requested The name as the client spells it: an alias, a dated id, or anything else.
   * @returns the catalog's name for it.
   * @throws ApiError (400) when the model is unknown or denied.
   */
  checkModel(principal: Principal, requested: string): { readonly canonical: string };
  /** Whether this caller may use any model that there is, so that somebody else may choose it. */
  allowsEveryModel(principal: Principal): boolean;
  /**
   * What the model is called at an upstream; undefined when the upstream does not serve it and is to be skipped.
   *
   * @param model The catalog's name.
   */
  upstreamModel(model: string, upstreamName: string, provider: string): string | undefined;
}

/** One request for inference that passed the policy, as whoever admits it gets to know it. */
export interface InferenceCall {
  readonly context: RequestContext;
  readonly principal: Principal;
  readonly request: InferenceRequest;
  /** The catalog's name. */
  readonly model: string;
  /** The upstreams that may answer it, in the order in which they are tried. */
  readonly candidates: readonly Candidate[];
  /** @param listener Called once when the client has gone, or the answer has ended. */
  readonly onGone: (listener: () => void) => void;
}

/** A request that may go to an upstream. */
export interface Admission {
  /** What the upstreams get instead of the client's body. */
  readonly body?: Buffer;
  /** Is always told the end, also when the client went before the admission was there. */
  readonly observer: ResponseObserver;
}

/** Decides whether a request may cost what it costs, before any upstream sees it. */
export interface AdmissionControl {
  /**
   * Asked for every `POST /v1/messages`; counting tokens is free.
   *
   * @returns a promise only where something has to be waited for: most requests go out in the very turn.
   * @throws ApiError when the request is refused.
   */
  admit(call: InferenceCall): Admission | Promise<Admission>;
}

export interface InferenceDeps {
  /** In the order in which they are tried. */
  readonly upstreams: readonly Upstream[];
  /** Guarded connections to the upstreams, one pool for each origin; without time limits of its own on responses. */
  readonly dispatcher: Dispatcher;
  readonly policy: ModelPolicy;
  readonly audit: Audit;
  readonly limits: {
    /** Longer request bodies answer 413. */
    readonly max_request_bytes: number;
  };
  readonly timeouts: {
    /** For each upstream, until its response begins. A response that has begun may take any time. */
    readonly upstream_ttfb_ms: number;
    /** How long one that has begun may send nothing; 0, the default: for ever. */
    readonly upstream_idle_ms?: number;
    /** How long it may send nothing but pings; 0, the default: for ever. */
    readonly upstream_pings_only_ms?: number;
  };
  /** Absent: everything is admitted and nothing is metered. */
  readonly admission?: AdmissionControl;
  readonly counts?: InferenceCounts | undefined;
  /** Answers of clients that went are read on here; absent: they are given up at once. */
  readonly abandonedReads?: AbandonedReads;
  /** For how long each of them at most, in ms (enforcement.abandoned_read_ms). Default 0. */
  readonly abandonedReadMs?: number;
  /** After how much silence a stream gets a ping. Default 15 000 ms. */
  readonly pingAfterMs?: number;
  /** How long a client may pause while it sends its body. Default 30 000 ms. */
  readonly bodyStallMs?: number;
}

export interface Inference {
  /**
   * Answers `POST /v1/messages` and `/v1/messages/count_tokens` of an authenticated caller, whatever happens: with
   * the upstream's response, with an error in the Anthropic envelope, or by closing the connection in mid-response.
   * Writes one log line and one audit event.
   */
  handle(
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    principal: Principal,
  ): void;
  /** Requests that have not been answered to their last byte. */
  readonly inFlight: number;
}

const PATHS: Readonly<Record<string, InferencePath>> = {
  '/v1/messages': '/v1/messages',
  '/v1/messages/count_tokens': '/v1/messages/count_tokens',
};

/** Whether a path (without query) is one that {@link Inference.handle} answers. */
export function isInferencePath(path: string): path is InferencePath {
  return Object.hasOwn(PATHS, path);
}

export function createInference(deps: InferenceDeps): Inference {
  const heartbeat = new Heartbeat(deps.pingAfterMs ?? 15_000);
  let inFlight = 0;
  return {
    handle(request, response, context, principal) {
      inFlight++;
      response.once('close', () => inFlight--);
      new Exchange(deps, heartbeat, request, response, context, principal).start();
    },
    get inFlight() {
      return inFlight;
    },
  };
}
