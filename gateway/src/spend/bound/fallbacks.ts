import { valueAt, type BoundRequest } from './request.ts';
import { MOST_OUTPUT } from './server-tools.ts';

/** How often a request may be tried, when a model declines and the upstream goes on with another. */
export interface Attempts {
  /** At least one. Each may be billed for what it read and wrote. */
  readonly count: number;
  /** `max_tokens` of fallbacks that set their own; the others have the request's. */
  readonly ownMaxTokens: readonly number[];
  /** One of the fallbacks may be answered in fast mode. */
  readonly fast: boolean;
}

const ONCE: Attempts = { count: 1, ownMaxTokens: [], fast: false };
/** The upstream has a model of its choice for each that declines. */
const TWICE: Attempts = { count: 2, ownMaxTokens: [], fast: false };

/** What `fallbacks` asks for: a list of models with settings of their own, or the upstream's choice. */
export function attemptsOf(request: Pick<BoundRequest, 'body' | 'fields' | 'fallbacks'>): Attempts {
  const { body, fields, fallbacks } = request;
  if (!fallsBack(request)) return ONCE;
  if (body[fields.fallbacks?.start ?? 0] !== OPEN_BRACKET) return TWICE;
  const ownMaxTokens: number[] = [];
  let fast = false;
  for (const { members } of fallbacks) {
    const own = members.max_tokens === undefined ? null : valueAt(body, members.max_tokens);
    if (own !== null)
      ownMaxTokens.push(
        typeof own === 'number' && own >= 0 ? Math.min(Math.ceil(own), MOST_TOKENS) : MOST_OUTPUT,
      );
    const speed = members.speed === undefined ? null : valueAt(body, members.speed);
    fast ||= speed !== null && speed !== 'standard';
  }
  return { count: 1 + fallbacks.length, ownMaxTokens, fast };
}

/** Larger numbers count as this one: no model has a larger window. */
const MOST_TOKENS = 1_000_000;
const OPEN_BRACKET = 0x5b;

/** Whether there are fallbacks at all. */
export function fallsBack({
  body,
  fields: { fallbacks: span },
}: Pick<BoundRequest, 'body' | 'fields'>): boolean {
  return (
    span !== undefined && body.toString('latin1', span.start, Math.min(span.end, span.start + 5)) !== 'null'
  );
}
