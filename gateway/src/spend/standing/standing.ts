import type { OutgoingHttpHeaders } from 'node:http';
import type { AppliedCap, Ledger } from '../types.ts';

/** How much of a cap is used. */
export interface Standing {
  readonly cap: AppliedCap;
  /** In the unit of the cap. */
  readonly spent: bigint;
}

/** The headers that Claude Code reads are those of Anthropic's own unified rate limits. */
export const UNIFIED = 'anthropic-ratelimit-unified';
/** Their names, put together once: every answer carries them. */
const STATUS = `${UNIFIED}-status`;
const CLAIM = `${UNIFIED}-representative-claim`;
const RESET = `${UNIFIED}-reset`;
const OVERAGE_STATUS = `${UNIFIED}-overage-status`;
const OVERAGE_RESET = `${UNIFIED}-overage-reset`;
const OVERAGE_UTILIZATION = `${UNIFIED}-overage-utilization`;
const OVERAGE_THRESHOLD = `${UNIFIED}-overage-surpassed-threshold`;
const OVERAGE_SCOPE = `${UNIFIED}-overage-scope`;

/** Nothing, some, or all of the thresholds at which a cap warns are passed. */
export type Severity = 'normal' | 'warning' | 'critical';

/**
 * The cap that a caller is told about: the fullest of their own, by the part that is used, and of several the one that
 * resets last; a budget that they share only when they have none of their own.
 */
export function toldOf(standings: readonly Standing[]): Standing | undefined {
  let told: Standing | undefined;
  for (const standing of standings) {
    if (told === undefined || isToldBefore(standing, told)) told = standing;
  }
  return told;
}

function isToldBefore(a: Standing, b: Standing): boolean {
  const own = isOwn(a.cap);
  return own === isOwn(b.cap) ? isFuller(a, b) : own;
}

function isOwn({ subject }: AppliedCap): boolean {
  return subject.kind === 'user';
}

function isFuller(a: Standing, b: Standing): boolean {
  const difference = a.spent * b.cap.amount - b.spent * a.cap.amount;
  // A cap of nothing is full.
  if (a.cap.amount === 0n || b.cap.amount === 0n) {
    if (a.cap.amount !== b.cap.amount) return a.cap.amount === 0n;
  } else if (difference !== 0n) return difference > 0n;
  return a.cap.window.endsAt > b.cap.window.endsAt;
}

/** Whole percents of a cap that are used; below 100 while anything is left. */
export function percentOf({ cap, spent }: Standing): number {
  if (cap.amount === 0n) return 100;
  const percent = Number((200n * spent + cap.amount) / (2n * cap.amount));
  return spent < cap.amount ? Math.min(percent, 99) : percent;
}

/** The thresholds of a cap that are passed: how many, and the highest, in percent. */
function passedThresholds({ cap, spent }: Standing): { readonly count: number; readonly highest: number } {
  let count = 0;
  let highest = 0;
  for (const percent of cap.limit.warnAtPercent) {
    if (100n * spent <= BigInt(percent) * cap.amount) continue;
    count++;
    highest = Math.max(highest, percent);
  }
  return { count, highest };
}

/** A cap's first threshold warns, each further one is critical. */
export function severityOf(standing: Standing): Severity {
  if (standing.spent >= standing.cap.amount) return 'critical';
  const { count } = passedThresholds(standing);
  return count === 0 ? 'normal' : count === 1 ? 'warning' : 'critical';
}

/** When a cap resets, as clients read it: Unix seconds, the same wherever it is told. */
export function resetSeconds({ window }: AppliedCap): string {
  return String(Math.ceil(window.endsAt.getTime() / 1000));
}

/**
 * What a caller with caps is told with every successful answer; nothing while it is not known how they stand, and nothing
 * to callers without caps.
 */
export function standingHeaders(
  caps: readonly AppliedCap[],
  ledger: Pick<Ledger, 'peek'>,
): OutgoingHttpHeaders | undefined {
  let told: Standing | undefined;
  for (const cap of caps) {
    const state = ledger.peek(cap.window.id);
    if (state === undefined) continue;
    const standing = { cap, spent: state.spent };
    if (told === undefined || isToldBefore(standing, told)) told = standing;
  }
  if (told === undefined) return undefined;
  const { cap } = told;
  const { count, highest } = passedThresholds(told);
  const status = count === 0 ? 'allowed' : 'allowed_warning';
  const reset = resetSeconds(cap);
  return {
    [STATUS]: status,
    [CLAIM]: 'overage',
    [RESET]: reset,
    [OVERAGE_STATUS]: status,
    [OVERAGE_RESET]: reset,
    // The request at hand was admitted, whatever others have spent since.
    [OVERAGE_UTILIZATION]: String(Math.min(percentOf(told), 99) / 100),
    ...(count > 0 && { [OVERAGE_THRESHOLD]: String(highest / 100) }),
    ...scopeHeader(cap),
  };
}

/** Tells clients that it is not their user's own cap. */
export function scopeHeader({ subject }: AppliedCap): OutgoingHttpHeaders {
  return subject.kind === 'user' ? {} : { [OVERAGE_SCOPE]: 'group_pool' };
}
