import type { TokenUsage } from '@claude-gateway/prisma';
import type { BodyBound } from '../bound/body-bound.ts';
import { isObject, valueOf, type BoundRequest } from '../bound/request.ts';
import { NO_USAGE } from '../no-usage.ts';
import type { MeteredUsage } from '../types.ts';
import { estimatedInput } from './estimate.ts';

/** A request whose answer is to be charged. */
export interface ChargedRequest {
  readonly request: BoundRequest;
  readonly bound: BodyBound;
  /** A strict cap pays: where the upstream did not count, the most that it can have been is charged, and no guess below. */
  readonly strict: boolean;
}

/** What is charged; `asHeld`: as much as was held, by whatever model it was used. */
export interface ChargedUsage extends TokenUsage {
  readonly asHeld?: true;
}

/** What hidden thinking is taken for where no strict cap pays: rather much of what models think before they write. */
const HIDDEN_THINKING_TOKENS = 8_192;

/** Everything that the request can have used: as much as was held for it. */
export function wholeBound({ bound }: ChargedRequest): ChargedUsage {
  return {
    asHeld: true,
    ...asInput(bound, bound.inputTokens),
    outputTokens: bound.outputTokens,
    webSearches: bound.webSearches,
  };
}

/** The input, at the full price: the least that an upstream is charged that had the request. */
export function inputAlone({ request, bound, strict }: ChargedRequest): TokenUsage {
  const { promptTokens } = bound;
  return asInput(bound, strict ? promptTokens : estimatedInput(request, promptTokens));
}

/** How an attempt ended of which nothing came. */
export interface Silence {
  readonly streamed: boolean;
  /** The client went, and not the upstream. */
  readonly hungUp: boolean;
}

/**
 * What an upstream is charged that had the request and gave no answer. It has read the input. What is not streamed may
 * have been all but written; and tools, summaries and other models may have been at work, of which nothing need show
 * before the first byte. Other streams say that they begin before anything is written: that an upstream broke off there
 * costs its input, and who hangs up there is charged the thinking besides that may have been under way.
 */
export function unansweredUsage(charged: ChargedRequest, { streamed, hungUp }: Silence): ChargedUsage {
  const { request, bound, strict } = charged;
  const input = inputAlone(charged);
  if (!strict) return input;
  if (!streamed || mayWork(bound)) return wholeBound(charged);
  const mayThink = hungUp && request.fields.thinking !== undefined;
  return { ...input, outputTokens: mayThink ? Math.min(bound.outputTokens, thinkingOf(request)) : 0 };
}

/** What an answer is charged: the upstream's counts, and the most or an estimate of what they leave open. */
export function answeredUsage(metered: MeteredUsage, charged: ChargedRequest): ChargedUsage {
  const { bound, strict } = charged;
  if (!metered.answered) return NO_USAGE;
  const counted = withInput(metered, charged);
  if (metered.outcome === 'complete') return counted;
  if (strict && workedUnseen(metered, bound)) return largest(metered, wholeBound(charged));
  const { mostOutputTokens } = metered.uncounted;
  const seen = strict ? Math.max(metered.outputTokens, mostOutputTokens) : metered.outputTokens;
  // Nobody writes more than was asked for, however many characters it is: so no estimate exceeds what was held.
  const outputTokens = Math.min(bound.outputTokens, seen + hiddenThinking(metered, charged));
  return { ...counted, outputTokens };
}

/** The counts as they are; of an input that nobody counted the most, or an estimate. */
function withInput(metered: MeteredUsage, charged: ChargedRequest): TokenUsage {
  if (metered.inputCounted) return metered;
  const { outputTokens, webSearches } = metered;
  return { ...inputAlone(charged), outputTokens, webSearches };
}

/** Whether more may have been read than the input that was counted at the start. */
function workedUnseen({ uncounted, inputCounted }: MeteredUsage, bound: BodyBound): boolean {
  if (uncounted.serverWork) return true;
  return mayWork(bound) && (!inputCounted || uncounted.thinking === 'possible');
}

/** Whether the request may have tools run at the upstream, have the conversation summarized, or ask another model. */
function mayWork({ serverRounds, promptReads }: BodyBound): boolean {
  return serverRounds > 0 || promptReads > 1;
}

function hiddenThinking({ uncounted }: MeteredUsage, { request, strict }: ChargedRequest): number {
  if (uncounted.thinking === 'none') return 0;
  // Some models think without being asked to, but none before it has said so.
  if (uncounted.thinking === 'possible' && request.fields.thinking === undefined) return 0;
  const most = thinkingOf(request);
  return strict ? most : Math.min(most, HIDDEN_THINKING_TOKENS);
}

/** How many tokens of thinking the request allows at most; Infinity where only `max_tokens` limits it. */
function thinkingOf(request: BoundRequest): number {
  const thinking = valueOf(request, 'thinking');
  if (!isObject(thinking)) return Infinity;
  if (thinking['type'] === 'disabled') return 0;
  const budget = thinking['budget_tokens'];
  return thinking['type'] === 'enabled' && typeof budget === 'number' && budget >= 0
    ? Math.ceil(budget)
    : Infinity;
}

/** Input of the dearest kind that the request may be billed as. */
function asInput({ cacheWrites }: BodyBound, tokens: number): TokenUsage {
  switch (cacheWrites) {
    case '1h':
      return { ...NO_USAGE, cacheWrite1hTokens: tokens };
    case '5m':
      return { ...NO_USAGE, cacheWrite5mTokens: tokens };
    case 'none':
      return { ...NO_USAGE, inputTokens: tokens };
  }
}

/** The bound, unless the upstream itself has counted more. */
function largest(metered: TokenUsage, bound: ChargedUsage): ChargedUsage {
  return total(metered) > total(bound) ? { ...metered, outputTokens: bound.outputTokens } : bound;
}

function total(usage: TokenUsage): number {
  return usage.inputTokens + usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens;
}
