import type { BoundRequest } from '../bound/request.ts';
import { affordableOutput, shrinkOutput, type Remainder } from '../bound/shrink-output.ts';
import type { AppliedCap, Shortage } from '../types.ts';
import { heldOf, needOf, type Estimate } from './estimate.ts';

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
  readonly demand: Demand;
  readonly short: readonly ShortCap[];
  /** The least `max_tokens` that is of use at all. */
  readonly floor: number;
  /** What an answer hardly ever needs more of, in tokens. */
  readonly useful: number;
}

/**
 * Lowers `max_tokens` to what is left. A cut answer is worse than a short wait: below what is useful it is lowered only
 * where that is all that is not spent yet, not for what others only hold. While others hold something, half of what is
 * left is left to who comes next, unless less than what is useful would remain.
 *
 * @returns `impossible` when it fits with no output that is of any use, or its body has none to lower.
 */
export function lowerDemand({ request, demand, short, floor, useful }: LowerOptions): Lowered | 'impossible' {
  const { estimate } = demand;
  const { bound, rates } = estimate;
  const mode = short.every(({ cap }) => cap.limit.mode === 'bounded') ? 'bounded' : 'strict';
  const what = {
    request,
    bound,
    rates,
    held: (lowered: Estimate['bound']) => heldOf(mode, lowered, estimate.expectedOutput),
  };
  const affordable = (left: Remainder): number => affordableOutput({ ...what, left }) ?? -1;
  const shrunk = (left: Remainder, most: number): Demand | undefined => {
    const result = shrinkOutput({ ...what, left, floor, most });
    return result.state === 'impossible'
      ? undefined
      : { estimate: { ...estimate, bound: result.bound }, body: result.body };
  };

  const unspent = leftOf(short, ({ cap, shortage }) => cap.amount - shortage.spent);
  const available = leftOf(short, ({ shortage }) => shortage.available);
  const most = affordable(unspent);
  const enough = Math.min(most, useful);
  const least = shrunk(unspent, enough);
  if (least === undefined) return 'impossible';
  const othersHold = short.some(({ cap, shortage }) => shortage.available < cap.amount - shortage.spent);
  const now = affordable(available);
  const share = othersHold ? Math.max(enough, affordable(halved(available))) : now;
  const wholeFits = short.every(({ cap, shortage }) => needOf(cap, estimate) <= cap.amount - shortage.spent);
  return {
    now: now >= enough ? shrunk(available, share) : undefined,
    choices: wholeFits ? [demand, least] : [least],
  };
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
