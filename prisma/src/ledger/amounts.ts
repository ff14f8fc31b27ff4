import type { UsageRecord } from './types.ts';

/**
 * Largest amount of a cap, a need or a return, in nano-USD (2.3 billion dollars) or tokens: two of them and a window's sum
 * are added up in a bigint without overflowing it.
 */
export const MAX_AMOUNT = 2n ** 61n;
/** What a window's sum stops at, in nano-USD or tokens. */
export const MAX_SPENT = 2n ** 62n;
/** What each sum of an hour stops at; all kinds of tokens of one are added up in a bigint. */
export const MAX_HOUR = 2n ** 59n;
/** The most that one request is charged: 10,000,000 dollars in nano-USD. None costs a thousandth of it. */
export const MAX_COST_NANO_USD = 10n ** 16n;
/** The most tokens of one kind in one record: a million times the largest context window. */
export const MAX_TOKENS = 10 ** 12;
const MAX_INT4 = 2 ** 31 - 1;
/** 9999-12-31T23:59:59.999Z: later years are written in a way that PostgreSQL does not read. */
const MAX_TIME_MS = 253_402_300_799_999;

/** @returns the amount within 0 and {@link MAX_AMOUNT}. */
export function clampAmount(amount: bigint): bigint {
  return amount < 0n ? 0n : amount > MAX_AMOUNT ? MAX_AMOUNT : amount;
}

/** @returns a whole number within 0 and `most`; what is no number is 0. */
function clampCount(count: number, most: number): number {
  if (!(count > 0)) return 0;
  return count >= most ? most : Math.round(count);
}

/**
 * A record whose numbers are whole, not negative, and within their columns: what an upstream says may be anything, and a
 * record that cannot be stored is counted by no budget. Whoever adds amounts up beside the store does it with this.
 *
 * @returns the record itself where nothing had to change.
 */
export function clampRecord(record: UsageRecord): UsageRecord {
  return isWithin(record) ? record : clamped(record);
}

/** Asked for every request, and nearly always true. */
function isWithin(record: UsageRecord): boolean {
  const { costNanoUsd, firstByteMs } = record;
  const at = record.admittedAt.getTime();
  return (
    isCount(record.inputTokens, MAX_TOKENS) &&
    isCount(record.outputTokens, MAX_TOKENS) &&
    isCount(record.cacheReadTokens, MAX_TOKENS) &&
    isCount(record.cacheWrite5mTokens, MAX_TOKENS) &&
    isCount(record.cacheWrite1hTokens, MAX_TOKENS) &&
    isCount(record.webSearches, MAX_INT4) &&
    costNanoUsd >= 0n &&
    costNanoUsd <= MAX_COST_NANO_USD &&
    isCount(record.status, MAX_INT4) &&
    (firstByteMs === null || isCount(firstByteMs, MAX_INT4)) &&
    isCount(record.durationMs, MAX_INT4) &&
    at >= 0 &&
    at <= MAX_TIME_MS
  );
}

function isCount(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= most;
}

function clamped(record: UsageRecord): UsageRecord {
  return {
    ...record,
    inputTokens: clampCount(record.inputTokens, MAX_TOKENS),
    outputTokens: clampCount(record.outputTokens, MAX_TOKENS),
    cacheReadTokens: clampCount(record.cacheReadTokens, MAX_TOKENS),
    cacheWrite5mTokens: clampCount(record.cacheWrite5mTokens, MAX_TOKENS),
    cacheWrite1hTokens: clampCount(record.cacheWrite1hTokens, MAX_TOKENS),
    webSearches: clampCount(record.webSearches, MAX_INT4),
    costNanoUsd: clampCost(record.costNanoUsd),
    status: clampCount(record.status, MAX_INT4),
    admittedAt: clampTime(record.admittedAt),
    firstByteMs: record.firstByteMs === null ? null : clampCount(record.firstByteMs, MAX_INT4),
    durationMs: clampCount(record.durationMs, MAX_INT4),
  };
}

function clampCost(cost: bigint): bigint {
  return cost < 0n ? 0n : cost > MAX_COST_NANO_USD ? MAX_COST_NANO_USD : cost;
}

function clampTime(time: Date): Date {
  const ms = time.getTime();
  if (ms >= 0 && ms <= MAX_TIME_MS) return time;
  return new Date(Number.isNaN(ms) ? Date.now() : ms < 0 ? 0 : MAX_TIME_MS);
}
