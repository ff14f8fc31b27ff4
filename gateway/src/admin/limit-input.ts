import type { BudgetPeriod, LimitContent, LimitScope, SpendLimit } from '@claude-gateway/prisma';
import { IANAZone } from 'luxon';
import { choiceOf, invalid, kindOf, nameOf, objectOf, textOf, type Fields } from './input.ts';
import { nanoUsdOfCents, wholeTokens } from './money.ts';
import { PERIODS } from './periods.ts';

export const MAX_REASON = 2000;
const MAX_MESSAGE = 500;
const MAX_WARNINGS = 10;

/** On the wire, then inside. */
const UNITS = {
  usd: 'nano_usd',
  tokens: 'tokens',
  tokens_with_cache_reads: 'tokens_with_cache_reads',
} as const;
export type WireUnit = keyof typeof UNITS;

/** What makes two limits the same one. */
export type LimitKey = Pick<LimitContent, 'scope' | 'period' | 'unit' | 'sharing'>;

/** A shared budget beside a group's monthly limit per member, as the reference words it. */
export type PoolChange =
  | { readonly change: 'keep' }
  | { readonly change: 'set'; readonly amount: bigint }
  | { readonly change: 'remove' };

/** A limit as somebody wants it. What is undefined stays as it is, or takes its default. */
export interface LimitInput {
  readonly key: LimitKey;
  readonly amount: bigint | null;
  readonly settings: Partial<Omit<LimitContent, keyof LimitKey | 'amount'>>;
  readonly pool: PoolChange;
  readonly reason: string | null;
}

const DEFAULTS: Omit<LimitContent, keyof LimitKey | 'amount'> = {
  mode: 'strict',
  whenShort: 'shrink_output',
  failurePolicy: null,
  timeZone: 'UTC',
  warnAtPercent: [],
  blockedMessage: null,
};

/** Everything of the limit: what was said, else what it has already, else the defaults. */
export function contentOf(
  input: Pick<LimitInput, 'key' | 'amount' | 'settings'>,
  existing?: SpendLimit,
): LimitContent {
  const { mode, whenShort, failurePolicy, timeZone, warnAtPercent, blockedMessage } = existing ?? DEFAULTS;
  const kept = { mode, whenShort, failurePolicy, timeZone, warnAtPercent, blockedMessage };
  return { ...input.key, amount: input.amount, ...kept, ...input.settings };
}

/** Reads `POST /v1/organizations/spend_limits`. @throws ApiError 400 naming the first field that is wrong. */
export function readLimit(body: unknown): LimitInput {
  const fields = objectOf(body);
  const scope = scopeOf(fields['scope']);
  const period = choiceOf(fields['period'], 'period', PERIODS) ?? 'monthly';
  const wireUnit = choiceOf(fields['unit'], 'unit', Object.keys(UNITS) as WireUnit[]) ?? 'usd';
  const unit = UNITS[wireUnit];
  const sharing = choiceOf(fields['sharing'], 'sharing', ['per_member', 'pooled'] as const) ?? 'per_member';
  if (scope.type === 'user' && sharing === 'pooled') {
    throw invalid('sharing', 'a pool is for a group or the organization; omit it for a user');
  }
  checkCurrency(fields['currency'], 'currency');
  const key = { scope, period, unit, sharing };
  return {
    key,
    amount: amountOf(fields['amount'], 'amount', wireUnit),
    settings: settingsOf(fields),
    pool: poolOf(fields['pooled_budget'], key),
    reason: textOf(fields['reason'], 'reason', MAX_REASON),
  };
}

/** A whole-number string, or null for no limit. */
export function amountOf(value: unknown, field: string, unit: WireUnit): bigint | null {
  if (value === null) return null;
  if (value === undefined) throw invalid(field, 'is required: a string, or null for no limit');
  if (typeof value !== 'string') throw invalid(field, `must be a string or null, not ${kindOf(value)}`);
  const amount = unit === 'usd' ? nanoUsdOfCents(value) : wholeTokens(value);
  if (amount !== undefined) return amount;
  throw unit === 'usd'
    ? invalid(field, 'must be a whole number of cents, like "50000", at most "922337203685"')
    : invalid(field, 'must be a whole number of tokens, like "2000000"');
}

export function periodOf(value: unknown): BudgetPeriod | undefined {
  return choiceOf(value, 'period', PERIODS);
}

function scopeOf(value: unknown): LimitScope {
  if (value === undefined) throw invalid('scope', 'is required');
  const scope = objectOf(value, 'scope');
  const type = choiceOf(scope['type'], 'scope.type', ['organization', 'rbac_group', 'user'] as const);
  if (type === 'organization') return { type };
  if (type === 'user') return { type, user: nameOf(scope['user_id'], 'scope.user_id') };
  if (type === 'rbac_group') return { type, group: nameOf(scope['rbac_group_id'], 'scope.rbac_group_id') };
  throw invalid('scope.type', 'must be one of organization, rbac_group, user');
}

function checkCurrency(value: unknown, field: string): void {
  if (value !== undefined && value !== 'USD') throw invalid(field, 'must be "USD"; there is no other');
}

function settingsOf(fields: Fields): LimitInput['settings'] {
  const mode = choiceOf(fields['mode'], 'mode', ['strict', 'bounded', 'postpaid'] as const);
  const whenShort = choiceOf(fields['when_short'], 'when_short', ['refuse', 'shrink_output'] as const);
  const failurePolicy =
    fields['failure_policy'] === null
      ? null
      : choiceOf(fields['failure_policy'], 'failure_policy', ['open', 'closed'] as const);
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(whenShort === undefined ? {} : { whenShort }),
    ...(failurePolicy === undefined ? {} : { failurePolicy }),
    ...(fields['time_zone'] === undefined ? {} : { timeZone: timeZoneOf(fields['time_zone']) }),
    ...(fields['warn_at_percent'] === undefined
      ? {}
      : { warnAtPercent: warningsOf(fields['warn_at_percent']) }),
    ...(fields['blocked_message'] === undefined
      ? {}
      : { blockedMessage: textOf(fields['blocked_message'], 'blocked_message', MAX_MESSAGE) }),
  };
}

function timeZoneOf(value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z]/.test(value) && IANAZone.isValidZone(value)) return value;
  throw invalid('time_zone', 'must be an IANA time zone, like "Europe/Berlin"');
}

function warningsOf(value: unknown): readonly number[] {
  const isPercent = (one: unknown): one is number =>
    typeof one === 'number' && Number.isInteger(one) && one >= 1 && one <= 99;
  if (Array.isArray(value) && value.length <= MAX_WARNINGS && value.every(isPercent)) {
    return [...new Set(value)].toSorted((a, b) => a - b);
  }
  throw invalid('warn_at_percent', `must be a list of at most ${MAX_WARNINGS} whole numbers from 1 to 99`);
}

function poolOf(value: unknown, key: LimitKey): PoolChange {
  const field = 'pooled_budget';
  if (value === undefined || value === null) return { change: 'keep' };
  const pool = objectOf(value, field);
  if (key.scope.type !== 'rbac_group') throw invalid(field, 'is for a limit of a group only');
  if (key.period !== 'monthly') throw invalid(field, "is monthly: set it on the group's monthly limit");
  if (key.unit !== 'nano_usd' || key.sharing !== 'per_member') {
    throw invalid(field, 'is for a limit in dollars per member; for other pools set sharing to "pooled"');
  }
  checkCurrency(pool['currency'], 'pooled_budget.currency');
  const paused: unknown = pool['paused'] ?? false;
  if (typeof paused !== 'boolean') {
    throw invalid('pooled_budget.paused', `must be true or false, not ${kindOf(paused)}`);
  }
  const amount =
    pool['amount'] === undefined ? undefined : amountOf(pool['amount'], 'pooled_budget.amount', 'usd');
  if (paused) {
    if (amount === null) return { change: 'remove' };
    throw invalid(
      'pooled_budget.paused',
      'this gateway keeps no amount of a pool that is paused: set pooled_budget.amount to null as well',
    );
  }
  if (amount === null) {
    throw invalid('pooled_budget.amount', 'set an amount, or set pooled_budget.paused to true to remove it');
  }
  return amount === undefined ? { change: 'keep' } : { change: 'set', amount };
}
