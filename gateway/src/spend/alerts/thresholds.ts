import type { AppliedCap } from '../types.ts';

/** Used up: raised for every budget, whatever its thresholds are. */
export const EXHAUSTED = 100;

/** A cap, and what has been spent of it now. */
export interface BudgetState {
  readonly cap: AppliedCap;
  /** Settled, in the unit of the cap's window. */
  readonly spent: bigint;
  /** Somebody was refused: what is left is too little to work with. */
  readonly refused?: boolean;
}

/** Of a cap: with more than this left, a refusal speaks of a large request and not of the budget. */
const LITTLE_PERCENT = 10n;

/** How much of a cap is spent, in whole percent, rounded down. */
export function percentOf({ cap, spent }: BudgetState): bigint {
  return (spent * 100n) / cap.amount;
}

/**
 * The thresholds of a budget that have been passed above `told`, ascending.
 */
export function passedThresholds(state: BudgetState, told: number): number[] {
  const { cap, spent } = state;
  // A cap of nothing blocks from the beginning: nobody has spent it.
  if (cap.amount <= 0n || told >= EXHAUSTED) return [];
  const thresholds = new Set([...cap.limit.warnAtPercent, EXHAUSTED]);
  return [...thresholds]
    .filter((threshold) => threshold > told)
    .filter((threshold) => spent * 100n >= cap.amount * BigInt(threshold) || isUsedUp(state))
    .sort((a, b) => a - b);
}

/** Strict caps are hardly ever spent to the last nano-dollar: they are used up when nothing fits any more. */
function isUsedUp({ cap, spent, refused }: BudgetState): boolean {
  return refused === true && (cap.amount - spent) * 100n < cap.amount * LITTLE_PERCENT;
}
