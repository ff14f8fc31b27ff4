import { ApiError } from '../../http/errors.ts';
import type { AppliedCap } from '../types.ts';
import { percentOf, resetSeconds, scopeHeader, UNIFIED, type Standing } from './standing.ts';
import { amountText, capText, resetText } from './wording.ts';

/** A cap in which a request does not fit. */
export interface Blocked extends Standing {
  /** What the request may cost at most, as far as that was worked out, in the unit of the cap; 0 where nothing is held. */
  readonly need: bigint;
  /** What could still be held. */
  readonly available: bigint;
}

/** The blocked cap that is told of: the one that resets last, or one that never lets anything through. */
export function decisiveOf(blocked: readonly [Blocked, ...Blocked[]]): Blocked {
  return blocked.reduce((a, b) => (lastsLonger(b.cap, a.cap) ? b : a));
}

function lastsLonger(a: AppliedCap, b: AppliedCap): boolean {
  if ((a.amount === 0n) !== (b.amount === 0n)) return a.amount === 0n;
  return a.window.endsAt > b.window.endsAt;
}

/**
 * The 429 for a request that a cap does not let through. The client shows its message as it is: one sentence that says
 * which cap, of whom, when it resets and what to do.
 *
 * @param now ms since the epoch.
 * @param blockedMessage What to do, where the limit does not say so itself.
 */
export function limitReached(blocked: Blocked, now: number, blockedMessage: string | undefined): ApiError {
  const { cap } = blocked;
  const reset = resetSeconds(cap);
  const advice = cap.limit.blockedMessage ?? blockedMessage;
  const parts = ['spend limit reached', reasonText(blocked)];
  if (cap.amount > 0n) parts.push(`resets ${resetText(cap)}`);
  if (advice !== undefined && advice !== '') parts.push(advice);
  return new ApiError('billing_error', parts.join(' · '), {
    headers: {
      [`${UNIFIED}-status`]: 'rejected',
      [`${UNIFIED}-reset`]: reset,
      [`${UNIFIED}-overage-reset`]: reset,
      // To the client a cap that has no room for the request is used up.
      [`${UNIFIED}-overage-utilization`]: String(Math.max(percentOf(blocked), 100) / 100),
      [`${UNIFIED}-overage-surpassed-threshold`]: '1',
      [`${UNIFIED}-overage-period`]: cap.limit.period,
      [`${UNIFIED}-overage-disabled-reason`]: 'org_spend_cap_reached',
      ...scopeHeader(cap),
      'retry-after': String(Math.max(1, Math.ceil((cap.window.endsAt.getTime() - now) / 1000))),
      'x-should-retry': 'false',
    },
  });
}

function reasonText({ cap, spent, need, available }: Blocked): string {
  const which = capText(cap);
  if (cap.amount === 0n) return `${which} lets nothing through`;
  if (spent >= cap.amount || need === 0n) return `${which} is used up`;
  const { unit } = cap.limit;
  return `this request may take up to ${amountText(need, unit, 'up')}, and ${amountText(available, unit)} of ${which} is left`;
}

/** The 429 while it is not known what is left, for callers with a cap that then fails closed. */
export function limitsUnavailable(): ApiError {
  return new ApiError(
    'billing_error',
    'spend limit unavailable · the gateway cannot read its budgets, try again in a moment',
    {
      headers: {
        [`${UNIFIED}-overage-disabled-reason`]: 'fetch_error',
        'x-should-retry': 'false',
      },
    },
  );
}
