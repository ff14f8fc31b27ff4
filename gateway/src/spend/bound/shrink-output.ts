import { spliced, type Splice } from '../../splice.ts';
import type { Rates, RequestBound } from '../types.ts';
import { maxTokensOf, type BodyBound } from './body-bound.ts';
import { isObject, valueOf, type BoundRequest, type MemberSpan } from './request.ts';

/** What a request may still use, of everything that applies to it. */
export interface Remainder {
  /** In nano-USD; absent where no cap counts money. */
  readonly nanoUsd?: bigint;
  /** Of input and output together; absent where no cap counts tokens. */
  readonly tokens?: bigint;
}

export interface ShrinkRequest {
  readonly request: Pick<BoundRequest, 'body' | 'fields'>;
  readonly bound: BodyBound;
  /** Of every upstream that may answer. */
  readonly rates: readonly Pick<Rates, 'ceiling'>[];
  readonly left: Remainder;
  /** What has to fit instead of the worst case, where less is held; grows with it. */
  readonly held?: (bound: BodyBound) => RequestBound;
  /** The least `max_tokens` that is of use. */
  readonly floor: number;
  /** No more than this, although more may fit. */
  readonly most?: number;
  /** What else is written into the body. */
  readonly edits?: readonly Splice[];
}

export type ShrinkResult =
  | {
      readonly state: 'shrunk';
      readonly maxTokens: number;
      /** The client's body with another `max_tokens`, and thinking budget where it must be; all else is as it came. */
      readonly body: Buffer;
      readonly bound: BodyBound;
    }
  /** `thinking`: its budget would have to go below what the API takes. `body`: there is no `max_tokens` to lower. */
  | { readonly state: 'impossible'; readonly reason: 'input' | 'floor' | 'thinking' | 'body' };

/** The API's least `thinking.budget_tokens`, which stays below `max_tokens`. */
const LEAST_THINKING_BUDGET = 1024;

/**
 * The largest `max_tokens` with which a request fits, at most what it asks for; undefined when it fits with none, or has
 * none to lower.
 */
export function affordableOutput({
  request,
  bound,
  rates,
  left,
  held,
}: Omit<ShrinkRequest, 'floor' | 'most' | 'edits'>): number | undefined {
  const asked = maxTokensOf(request);
  if (asked === undefined) return undefined;
  return largest(mostOutput(bound, asked), (maxTokens) => {
    const lowered = withOutput(bound, maxTokens);
    return fits(held === undefined ? lowered : held(lowered), rates, left);
  });
}

/** Finds the largest `max_tokens` with which a request fits, and writes it into the body. */
export function shrinkOutput({
  floor,
  most = Infinity,
  edits: more = [],
  ...what
}: ShrinkRequest): ShrinkResult {
  const { request, bound } = what;
  const asked = maxTokensOf(request);
  const { max_tokens: span } = request.fields;
  if (asked === undefined || span === undefined) return { state: 'impossible', reason: 'body' };
  const fitting = affordableOutput(what);
  if (fitting === undefined) return { state: 'impossible', reason: 'input' };
  const affordable = Math.min(fitting, most);
  if (affordable < Math.max(1, floor)) return { state: 'impossible', reason: 'floor' };

  const edits: Splice[] = [...more, { span, text: String(affordable) }];
  const budget = thinkingBudget(request);
  // A budget above max_tokens was so before: interleaved thinking allows it.
  if (budget !== undefined && budget.tokens < asked && budget.tokens >= affordable) {
    if (affordable <= LEAST_THINKING_BUDGET) return { state: 'impossible', reason: 'thinking' };
    edits.push({ span: budget.span, text: String(affordable - 1) });
  }
  return {
    state: 'shrunk',
    maxTokens: affordable,
    body: spliced(request.body, edits),
    bound: withOutput(bound, affordable),
  };
}

/** What may be written for one answer, of all that the bound has. */
function mostOutput(bound: BodyBound, asked: number): number {
  return Math.min(asked, (bound.outputTokens - bound.serverOutputTokens) / bound.answers);
}

function withOutput(bound: BodyBound, maxTokens: number): BodyBound {
  return {
    ...bound,
    outputTokens: Math.min(bound.outputTokens, bound.answers * maxTokens + bound.serverOutputTokens),
  };
}

/** Whether a request's worst case is within what is left. */
export function fits(
  bound: RequestBound,
  rates: readonly Pick<Rates, 'ceiling'>[],
  left: Remainder,
): boolean {
  const { nanoUsd, tokens } = left;
  if (tokens !== undefined && BigInt(bound.inputTokens) + BigInt(bound.outputTokens) > tokens) return false;
  return nanoUsd === undefined || rates.every((price) => price.ceiling(bound) <= nanoUsd);
}

/** The largest whole number up to `most` that holds, where everything below it holds too; undefined when 0 does not. */
function largest(most: number, holds: (value: number) => boolean): number | undefined {
  if (!holds(0)) return undefined;
  let low = 0;
  let high = most;
  while (low < high) {
    const middle = low + Math.ceil((high - low) / 2);
    if (holds(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Where the thinking budget stands; undefined when there is none. */
function thinkingBudget(
  request: Pick<BoundRequest, 'body' | 'fields'>,
): { readonly tokens: number; readonly span: MemberSpan } | undefined {
  const { thinking: span } = request.fields;
  const thinking = valueOf(request, 'thinking');
  if (span === undefined || !isObject(thinking) || typeof thinking['budget_tokens'] !== 'number')
    return undefined;
  const text = request.body.toString('latin1', span.start, span.end);
  const all = [...text.matchAll(/"budget_tokens"\s*:\s*([-+.\dEe]+)/g)];
  const last = all.at(-1);
  if (last?.[1] === undefined) return undefined;
  const end = span.start + last.index + last[0].length;
  return { tokens: thinking['budget_tokens'], span: { start: end - last[1].length, end } };
}
