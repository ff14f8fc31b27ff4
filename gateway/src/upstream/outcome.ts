import { TimeToFirstByteError, type AttemptFailure } from './attempt.ts';
import type { RelayEnding } from './relay.ts';

/** What became of an attempt at one upstream. */
export type AttemptOutcome =
  | 'success'
  /** It broke off in mid-answer. */
  | 'interrupted'
  /** The client went before it had the whole answer. */
  | 'abandoned'
  | 'rate_limited'
  | 'overloaded'
  | 'client_error'
  | 'server_error'
  | 'timeout'
  /** There was no response, or no credential to ask with. */
  | 'unreachable';

export function outcomeOf({ status, error }: AttemptFailure): AttemptOutcome {
  if (error instanceof TimeToFirstByteError) return 'timeout';
  if (status === undefined) return 'unreachable';
  if (status === 429) return 'rate_limited';
  if (status === 529) return 'overloaded';
  return status >= 400 && status < 500 ? 'client_error' : 'server_error';
}

/** Told of what passes. Called on the request path: quick, and never throws. */
export interface InferenceCounts {
  /** An attempt is over. */
  attempted(upstream: string, outcome: AttemptOutcome): void;
  /** The next upstream is asked instead of this one. */
  failedOver(upstream: string): void;
  /**
   * A request is over.
   *
   * @param firstByteMs From its arrival; null when no upstream answered it with success.
   */
  ended(streamed: boolean, ending: RelayEnding, firstByteMs: number | null, durationMs: number): void;
}
