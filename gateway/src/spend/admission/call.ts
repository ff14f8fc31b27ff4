import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { RequestContext } from '../../http/context.ts';
import type { Principal } from '../../principal.ts';
import type { BoundRequest } from '../bound/request.ts';

/** A request for inference that is to be admitted. */
export interface AdmissionCall {
  readonly context: RequestContext;
  readonly principal: Principal;
  readonly request: BoundRequest;
  /** The catalog's name. */
  readonly model: string;
  /** The upstreams that may answer, in the order in which they are tried, with what the model is called there. */
  readonly candidates: readonly Candidate[];
  /** @param listener Called once when the client has gone, or the answer has ended. */
  readonly onGone: (listener: () => void) => void;
}

export interface Candidate {
  readonly upstream: { readonly name: string };
  readonly model: string;
}

/** What became of a request. */
export interface CallEnd {
  readonly ending: 'complete' | 'upstream_cut' | 'client_gone' | 'refused';
  /**
   * An upstream answered with success (`answered`), or refused the request for what it is (`declined`), or had it and
   * gave no answer (`unanswered`); or none of that.
   */
  readonly reached: 'answered' | 'declined' | 'unanswered' | 'nowhere';
  /** The upstream that answered, or had it. */
  readonly upstream: string | null;
  /** Whether the answer was to be a stream. */
  readonly streamed: boolean;
  /** What the client was sent. */
  readonly status: number;
  readonly firstByteMs: number | null;
  readonly durationMs: number;
}

/** Accompanies one admitted request to its end. */
export interface CallObserver {
  /** @returns headers for the client: how its caps stand. */
  onResponseStart(
    status: number,
    headers: IncomingHttpHeaders,
    upstream: string,
  ): OutgoingHttpHeaders | undefined;
  onResponseBytes(chunk: Buffer): void;
  /**
   * An upstream had the request and gave no answer: that is charged, and what comes next is held anew.
   *
   * @param streamed Whether the answer was to be a stream.
   * @returns whether the request may be sent again; false where nothing is left for it.
   */
  onLost(upstream: string, streamed: boolean): boolean | Promise<boolean>;
  /** Called once; settles. */
  onResponseEnd(end: CallEnd): void;
}

export interface Admitted {
  /** What the upstream gets instead of the client's body, when output had to be lowered. */
  readonly body?: Buffer;
  readonly observer: CallObserver;
}
