import {
  boundOf,
  maxTokensOf,
  withPromptTokens,
  type BodyBound,
  type Lowering,
} from '../bound/body-bound.ts';
import type { BoundRequest } from '../bound/request.ts';
import { limitedSearchesOf, MOST_ROUNDS } from '../bound/server-tools.ts';
import { affordableOutput, shrinkOutput, type Remainder } from '../bound/shrink-output.ts';
import type { AppliedCap, Shortage } from '../types.ts';
import { heldOf, loweredOf, needOf, type Estimate } from './estimate.ts';

/** What a request wants to hold, and what is sent for it. */
export interface Demand {
  readonly estimate: Estimate;
  /** Instead of the client's body. */
  readonly body: Buffer | undefined;
}

/** A cap in which a request does not fit. */
export interface ShortCap {
  readonly cap: AppliedCap;
  readonly shortage: Shortage;
}

/** Where a request that does not fit may go on. */
export interface Lowered {
  /** What may be held at once; absent where that would give away too much of the answer. */
  readonly now: Demand | undefined;
  /** What is worth waiting for, the dearest first. */
  readonly choices: readonly [Demand, ...Demand[]];
}

export interface LowerOptions {
  readonly request: BoundRequest;
  /** The catalog's name. */
  readonly model: string;
  readonly estimate: Estimate;
  readonly short: readonly ShortCap[];
  /** The least `max_tokens` that is of use at all. */
  readonly floor: number;
  /** What an answer hardly ever needs more of, in tokens. */
  readonly useful: number;
}

/** To fewer web searches it is not lowered for what others only hold. */
const USEFUL_SEARCHES = 3;

/**
 * Lowers `max_tokens`, and `max_uses` of web searches, to what is left. A cut answer is worse than a short wait: below
 * what is useful it is lowered only where that is all that is not spent yet, not for what others only hold. While others
 * hold something, half of what is left is left to who comes next, unless less than what is useful would remain. Searches
 * are given up before anything of the answer that is useful, down to one.
 *
 * @returns `impossible` when it fits with no output that is of any use, or its body has none to lower.
 */
export function lowerDemand(options: LowerOptions): Lowered | 'impossible' {
  const { estimate, short } = options;
  const variants = variantsOf(options);
  const unspent = leftOf(short, ({ cap, shortage }) => cap.amount - shortage.spent);
  const available = leftOf(short, ({ shortage }) => shortage.available);
  const best = variants.find((variant) => variant.affordable(unspent) >= variant.useful) ?? variants.at(-1);
  if (best === undefined) return 'impossible';
  const enough = Math.min(best.affordable(unspent), best.useful);
  const most = best.lowered(unspent, enough);
  if (most === undefined) return 'impossible';

  // Whoever waits for others may have to do with a few searches; who is short by what is spent takes what there is.
  const acceptable = variants.filter(
    ({ searches, useful }) =>
      useful >= enough &&
      (searches === undefined || searches >= Math.min(best.searches ?? 0, USEFUL_SEARCHES)),
  );
  const least = acceptable.at(-1)?.lowered(unspent, enough) ?? most;
  const fitting = acceptable.find((variant) => variant.affordable(available) >= enough);
  const othersHold = short.some(({ cap, shortage }) => shortage.available < cap.amount - shortage.spent);
  const share = (variant: Variant): number =>
    othersHold ? Math.max(enough, variant.affordable(halved(available))) : variant.affordable(available);
  const wholeFits = short.every(({ cap, shortage }) => needOf(cap, estimate) <= cap.amount - shortage.spent);
  const whole: Demand = { estimate, body: undefined };
  return {
    now: fitting?.lowered(available, share(fitting)),
    choices: [wholeFits ? whole : most, least],
  };
}

/** The least that lowering can make of a request; `floor` is Infinity where nothing may be lowered. */
export function leastOutcome(
  { request, model, estimate }: Pick<LowerOptions, 'request' | 'model' | 'estimate'>,
  floor: number,
): Estimate {
  const { bound } = estimate;
  const searches = floor === Infinity ? undefined : limitedSearchesOf(request);
  const lowered =
    searches === undefined
      ? bound
      : boundWith({ request, model, estimate }, { searches: 1, maxTokens: floor });
  return { ...estimate, bound: loweredOf(lowered, floor) };
}

/** A request with so many searches. */
interface Variant {
  /** Undefined where it searches nothing, or without a limit. */
  readonly searches: number | undefined;
  /** What an answer hardly ever needs more of, at most what was asked for. */
  readonly useful: number;
  /** The largest `max_tokens` that fits; -1 where nothing does. */
  readonly affordable: (left: Remainder) => number;
  /** Undefined where what would be left of the answer is of no use. */
  readonly lowered: (left: Remainder, most: number) => Demand | undefined;
}

/** From all searches that are asked for down to one, and then to the least output. */
function variantsOf(options: LowerOptions): readonly Variant[] {
  const { request, estimate, short, floor } = options;
  const mode = short.every(({ cap }) => cap.limit.mode === 'bounded') ? 'bounded' : 'strict';
  const held = (lowered: Estimate['bound']) => heldOf(mode, lowered, estimate.expectedOutput);
  const rates = mode === 'bounded' ? estimate.rates : estimate.rates.map(({ strict }) => strict);
  const useful = Math.min(options.useful, maxTokensOf(request) ?? 0);
  const limited = limitedSearchesOf(request);
  const variantOf = (bound: BodyBound, searches?: number, maxTokens = useful): Variant => {
    const what = { request, bound, rates, held };
    const edits = (limited?.limits ?? [])
      .filter(({ uses }) => searches !== undefined && uses > searches)
      .map(({ span }) => ({ span, text: String(searches) }));
    return {
      searches,
      useful: maxTokens,
      affordable: (left) => affordableOutput({ ...what, left }) ?? -1,
      lowered: (left, most) => {
        const result = shrinkOutput({ ...what, left, floor, most, edits });
        return result.state === 'impossible'
          ? undefined
          : { estimate: { ...estimate, bound: result.bound }, body: result.body };
      },
    };
  };
  if (limited === undefined) return [variantOf(estimate.bound)];
  // What it writes is read again in each round: it is not to write more than is useful, or than there is left for.
  const searching = (searches: number, maxTokens: number): Variant =>
    variantOf(boundWith(options, { searches, maxTokens }), searches, maxTokens);
  const variants = [searching(limited.uses, useful)];
  for (let searches = Math.min(limited.uses, MOST_ROUNDS) - 1; searches > 0; searches--) {
    variants.push(searching(searches, useful));
  }
  for (let maxTokens = useful; maxTokens > floor;) {
    maxTokens = Math.max(floor, Math.ceil(maxTokens / 2));
    variants.push(searching(1, maxTokens));
  }
  return variants;
}

function boundWith(
  { request, model, estimate: { bound } }: Pick<LowerOptions, 'request' | 'model' | 'estimate'>,
  lowering: Lowering,
): BodyBound {
  return withPromptTokens(boundOf(request, model, lowering), bound.promptTokens);
}

/** Whether it would not fit either if nobody held anything. */
export function isTooLarge({ cap, shortage }: ShortCap, estimate: Estimate): boolean {
  return cap.limit.mode === 'postpaid' || needOf(cap, estimate) > cap.amount - shortage.spent;
}

export function canShrink(short: readonly ShortCap[]): boolean {
  return short.every(({ cap }) => cap.limit.whenShort === 'shrink_output');
}

/** The least that is left of money, and of tokens. */
function leftOf(short: readonly ShortCap[], left: (one: ShortCap) => bigint): Remainder {
  let nanoUsd: bigint | undefined;
  let tokens: bigint | undefined;
  for (const one of short) {
    if (one.cap.limit.unit === 'nano_usd') nanoUsd = least(nanoUsd, left(one));
    else tokens = least(tokens, left(one));
  }
  return { ...(nanoUsd !== undefined && { nanoUsd }), ...(tokens !== undefined && { tokens }) };
}

function halved({ nanoUsd, tokens }: Remainder): Remainder {
  return {
    ...(nanoUsd !== undefined && { nanoUsd: nanoUsd / 2n }),
    ...(tokens !== undefined && { tokens: tokens / 2n }),
  };
}

function least(a: bigint | undefined, b: bigint): bigint {
  return a === undefined || b < a ? b : a;
}
