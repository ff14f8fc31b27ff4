import { SPEND_POLICY, type SpendPolicy, type SpendPolicyLimit } from '@claude-gateway/crds';
import type { LimitContent, LimitScope } from '@claude-gateway/prisma';
import { judge, unstorable, type PolicyProblem } from './problems.ts';

const PERIODS = { Daily: 'daily', Weekly: 'weekly', Monthly: 'monthly' } as const;
const MODES = { Strict: 'strict', Bounded: 'bounded', Postpaid: 'postpaid' } as const;
const WHEN_SHORT = { ShrinkOutput: 'shrink_output', Refuse: 'refuse' } as const;
const FAILURE_POLICIES = { Open: 'open', Closed: 'closed' } as const;
const SHARING = { PerMember: 'per_member', Pooled: 'pooled' } as const;

/**
 * No threshold at all. Rows without any take those of the gateway; this one is reached only with the limit itself, of
 * which everybody is told anyway.
 */
const NO_THRESHOLD = [100];

/**
 * The limits of a policy as its gateways keep them. What it leaves out is left to the gateway: no `failurePolicy`
 * and no `blockedMessage` is null, no `warnAtPercent` is an empty list.
 */
export function limitsOf(
  policy: Pick<SpendPolicy, 'spec'>,
):
  | { readonly limits: readonly LimitContent[]; readonly warnings: readonly string[] }
  | { readonly problems: readonly PolicyProblem[] } {
  const judged = judge(SPEND_POLICY.spec, policy.spec);
  if ('problems' in judged) return judged;
  const { subject, limits, enforcement, timeZone, warnAtPercent, blockedMessage = null } = judged.spec;
  const problems = [
    ...unstorable('spec.subject.name', subject.name ?? ''),
    ...unstorable('spec.blockedMessage', blockedMessage ?? ''),
  ];
  if (problems.length > 0) return { problems };
  const common = {
    scope: scopeOf(subject),
    mode: MODES[enforcement.mode],
    whenShort: WHEN_SHORT[enforcement.whenShort],
    failurePolicy:
      enforcement.failurePolicy === undefined ? null : FAILURE_POLICIES[enforcement.failurePolicy],
    timeZone,
    warnAtPercent: thresholdsOf(warnAtPercent),
    blockedMessage,
  };
  return {
    warnings: judged.warnings,
    limits: limits.map((limit) => ({
      ...common,
      period: PERIODS[limit.period],
      unit: unitOf(limit),
      sharing: SHARING[limit.sharing ?? 'PerMember'],
      amount: amountOf(limit),
    })),
  };
}

/** A decimal of at most nine digits on either side of the point, exactly. The greatest fits in PostgreSQL's bigint. */
function nanoUsd(decimal: string): bigint {
  const [whole = '', fraction = ''] = decimal.split('.');
  return BigInt(whole + fraction.padEnd(9, '0'));
}

function scopeOf({ kind, name = '' }: SpendPolicy['spec']['subject']): LimitScope {
  if (kind === 'Organization') return { type: 'organization' };
  return kind === 'Group' ? { type: 'rbac_group', group: name } : { type: 'user', user: name };
}

function thresholdsOf(percents: readonly number[] | undefined): readonly number[] {
  if (percents === undefined) return [];
  return percents.length === 0 ? NO_THRESHOLD : percents.toSorted((a, b) => a - b);
}

function unitOf({ usd, unlimited, countCacheReads }: SpendPolicyLimit): LimitContent['unit'] {
  if (usd !== undefined || unlimited === 'USD') return 'nano_usd';
  return countCacheReads === true ? 'tokens_with_cache_reads' : 'tokens';
}

/** @returns nano-USD or tokens; null when unlimited. */
function amountOf({ usd, tokens }: SpendPolicyLimit): bigint | null {
  if (usd !== undefined) return nanoUsd(usd);
  return tokens === undefined ? null : BigInt(tokens);
}
