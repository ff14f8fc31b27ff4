import type { AppliedCap } from '../types.ts';

/** Used up: raised for every budget, whatever its thresholds are. */
export const EXHAUSTED = 100;

/** A cap, and what has been spent of it now. */
export interface BudgetState {
  readonly cap: AppliedCap;
  /** Settled, in the unit of the cap's window. */
  readonly spent: bigint;
}

/** How much of a cap is spent, in whole percent, rounded down. */
export function percentOf({ cap, spent }: BudgetState): bigint {
  return (spent * 100n) / cap.amount;
}

/**
 * The thresholds of a budget that have been passed above `told`, ascending.
 *
 * @param warnAtPercent For limits that say nothing.
 */
export function passedThresholds(
  { cap, spent }: BudgetState,
  warnAtPercent: readonly number[],
  told: number,
): number[] {
  // A cap of nothing blocks from the beginning: nobody has spent it.
  if (cap.amount <= 0n || told >= EXHAUSTED) return [];
  const own = cap.limit.warnAtPercent;
  const thresholds = new Set([...(own.length > 0 ? own : warnAtPercent), EXHAUSTED]);
  return [...thresholds]
    .filter((threshold) => threshold > told && spent * 100n >= cap.amount * BigInt(threshold))
    .sort((a, b) => a - b);
}
