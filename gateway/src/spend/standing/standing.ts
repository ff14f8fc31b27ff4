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

/** Nothing, some, or all of the thresholds at which a cap warns are passed. */
export type Severity = 'normal' | 'warning' | 'critical';

/** The fullest cap, by the part that is used; of several the one that resets last. */
export function fullestOf(standings: readonly Standing[]): Standing | undefined {
  let fullest: Standing | undefined;
  for (const standing of standings) {
    if (fullest === undefined || isFuller(standing, fullest)) fullest = standing;
  }
  return fullest;
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

/** Clients know two thresholds; the first of a cap is told as the one, each further one as the other. */
const TOLD_THRESHOLDS = { warning: '0.75', critical: '0.95' } as const;

export function severityOf({ cap, spent }: Standing): Severity {
  if (spent >= cap.amount) return 'critical';
  const { warnAtPercent } = cap.limit;
  let passed = 0;
  for (const percent of warnAtPercent) if (100n * spent > BigInt(percent) * cap.amount) passed++;
  if (passed === 0) return 'normal';
  return passed === 1 ? 'warning' : 'critical';
}

/** When a cap resets, as clients read it: Unix seconds, the same wherever it is told. */
export function resetSeconds({ window }: AppliedCap): string {
  return String(Math.ceil(window.endsAt.getTime() / 1000));
}

/**
 * What a caller with caps is told with every successful answer: how the fullest one stands. Nothing while that is not
 * known, and nothing to callers without caps.
 */
export function standingHeaders(
  caps: readonly AppliedCap[],
  ledger: Pick<Ledger, 'peek'>,
): OutgoingHttpHeaders | undefined {
  let fullest: Standing | undefined;
  for (const cap of caps) {
    const state = ledger.peek(cap.window.id);
    if (state === undefined) continue;
    const standing = { cap, spent: state.spent };
    if (fullest === undefined || isFuller(standing, fullest)) fullest = standing;
  }
  if (fullest === undefined) return undefined;
  const { cap } = fullest;
  const severity = severityOf(fullest);
  const status = severity === 'normal' ? 'allowed' : 'allowed_warning';
  const reset = resetSeconds(cap);
  return {
    [`${UNIFIED}-status`]: status,
    [`${UNIFIED}-representative-claim`]: 'overage',
    [`${UNIFIED}-reset`]: reset,
    [`${UNIFIED}-overage-status`]: status,
    [`${UNIFIED}-overage-reset`]: reset,
    // The request at hand was admitted, whatever others have spent since.
    [`${UNIFIED}-overage-utilization`]: String(Math.min(percentOf(fullest), 99) / 100),
    ...(severity !== 'normal' && {
      [`${UNIFIED}-overage-surpassed-threshold`]: TOLD_THRESHOLDS[severity],
    }),
    ...scopeHeader(cap),
  };
}

/** Tells clients that it is not their user's own cap. */
export function scopeHeader({ subject }: AppliedCap): OutgoingHttpHeaders {
  return subject.kind === 'user' ? {} : { [`${UNIFIED}-overage-scope`]: 'group_pool' };
}
