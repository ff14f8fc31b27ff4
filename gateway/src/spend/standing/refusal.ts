import { ApiError } from '../../http/errors.ts';
import { percentOf, resetSeconds, scopeHeader, UNIFIED, type Standing } from './standing.ts';
import { amountText, capText, resetText } from './wording.ts';

/** A cap in which a request does not fit. */
export interface Blocked extends Standing {
  /** What the request may cost at most, as far as that was worked out, in the unit of the cap; 0 where nothing is held. */
  readonly need: bigint;
  /** What is left, of what counts for it: of all that is not spent, or of what could be held at once. */
  readonly available: bigint;
}

/**
 * The blocked cap that is told of: one that never lets anything through, else one that is used up, else one in which
 * the request is too large; of several, the one that resets last.
 */
export function decisiveOf(blocked: readonly [Blocked, ...Blocked[]]): Blocked {
  return blocked.reduce((a, b) => (tellsMore(b, a) ? b : a));
}

function tellsMore(a: Blocked, b: Blocked): boolean {
  const [weightA, weightB] = [weightOf(a), weightOf(b)];
  if (weightA !== weightB) return weightA > weightB;
  return a.cap.window.endsAt > b.cap.window.endsAt;
}

function weightOf({ cap: { amount }, spent }: Blocked): number {
  if (amount === 0n) return 2;
  return spent >= amount ? 1 : 0;
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

/** Clients come back after so long, in seconds: not all at the same moment. */
const BUSY_RETRY_S = { least: 2, spread: 4 } as const;

/**
 * The 429 for a request that would fit if others in flight were settled. No limit is reached: without the headers that
 * say so, and with the type of a rate limit, clients wait as long as they are told and ask again by themselves.
 *
 * @param blocked Undefined when it is not known which cap that is.
 */
export function limitBusy(blocked: Blocked | undefined): ApiError {
  const seconds = BUSY_RETRY_S.least + Math.floor(Math.random() * BUSY_RETRY_S.spread);
  return new ApiError(
    'rate_limit_error',
    `spend limit busy · ${busyText(blocked)} · try again in a few seconds`,
    {
      headers: { 'retry-after': String(seconds), 'x-should-retry': 'true' },
    },
  );
}

function busyText(blocked: Blocked | undefined): string {
  if (blocked === undefined) return 'what is left is held by requests in flight';
  const { cap, spent, available } = blocked;
  const held = cap.amount - spent - available;
  if (held <= 0n) return `what is left of ${capText(cap)} is held by requests in flight`;
  return `${amountText(held, cap.limit.unit)} of ${capText(cap)} is held by requests in flight`;
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
