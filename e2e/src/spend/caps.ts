/** A cap as the tests think of it. */
export interface Cap {
  readonly scope:
    | { readonly type: 'organization' }
    | { readonly type: 'rbac_group'; readonly group: string }
    | { readonly type: 'user'; readonly user: string };
  readonly period: 'daily' | 'weekly' | 'monthly';
  readonly unit: 'nano_usd' | 'tokens';
  /** Of the unit; nano-USD in whole cents. */
  readonly amount: bigint;
  readonly pooled?: boolean;
  readonly whenShort?: 'refuse' | 'shrink_output';
  readonly failurePolicy?: 'open' | 'closed';
  readonly timeZone?: string;
}

export interface Developer {
  readonly sub: string;
  readonly groups: readonly string[];
}

/** A budget that a developer's requests are paid from, named as in `budget_windows`. */
export interface Budget {
  readonly subjectKind: 'user' | 'group_pool' | 'organization_pool';
  readonly subject: string;
  readonly unit: Cap['unit'];
  readonly period: Cap['period'];
  readonly amount: bigint;
}

export const NANO_USD_PER_CENT = 10_000_000n;

export function usd(text: string): bigint {
  const [whole = '', fraction = ''] = text.split('.');
  return BigInt(whole + fraction.padEnd(2, '0')) * NANO_USD_PER_CENT;
}

/**
 * The budgets that apply to somebody, by the documented rules: each pool of theirs, and of the caps for members the
 * user's own before the tightest of the groups' before the organization's, for each period and unit.
 */
export function budgetsOf({ sub, groups }: Developer, caps: readonly Cap[]): Budget[] {
  const budgets: Budget[] = [];
  const own = new Map<string, { cap: Cap; rank: number }>();
  for (const cap of caps) {
    const { scope, unit, period, amount } = cap;
    if (scope.type === 'user' && scope.user !== sub) continue;
    if (scope.type === 'rbac_group' && !groups.includes(scope.group)) continue;
    if (cap.pooled === true && scope.type !== 'user') {
      budgets.push(
        scope.type === 'rbac_group'
          ? { subjectKind: 'group_pool', subject: scope.group, unit, period, amount }
          : { subjectKind: 'organization_pool', subject: '', unit, period, amount },
      );
      continue;
    }
    const rank = { user: 0, rbac_group: 1, organization: 2 }[scope.type];
    const key = `${unit} ${period}`;
    const found = own.get(key);
    if (found === undefined || rank < found.rank || (rank === found.rank && amount < found.cap.amount)) {
      own.set(key, { cap, rank });
    }
  }
  for (const { cap } of own.values()) {
    const { unit, period, amount } = cap;
    budgets.push({ subjectKind: 'user', subject: sub, unit, period, amount });
  }
  return budgets;
}

/** The admin API, with a key that may write. */
export class AdminClient {
  readonly #url: () => string;
  readonly #key: string;

  /** @param url Of a gateway that is up. */
  constructor(url: () => string, key: string) {
    this.#url = url;
    this.#key = key;
  }

  /** Creates or replaces. @returns the cap's id. */
  async set(cap: Cap): Promise<string> {
    const { scope, period, unit, amount } = cap;
    const answer = await this.call('POST', '', {
      scope:
        scope.type === 'user'
          ? { type: 'user', user_id: scope.user }
          : scope.type === 'rbac_group'
            ? { type: 'rbac_group', rbac_group_id: scope.group }
            : { type: 'organization' },
      amount: (unit === 'nano_usd' ? amount / NANO_USD_PER_CENT : amount).toString(),
      period,
      ...(unit === 'nano_usd' ? {} : { unit }),
      ...(cap.pooled === true ? { sharing: 'pooled' } : {}),
      ...(cap.whenShort === undefined ? {} : { when_short: cap.whenShort }),
      ...(cap.failurePolicy === undefined ? {} : { failure_policy: cap.failurePolicy }),
      ...(cap.timeZone === undefined ? {} : { time_zone: cap.timeZone }),
    });
    return (answer as { id: string }).id;
  }

  async remove(id: string): Promise<void> {
    await this.call('DELETE', `/${id}`);
  }

  /** @throws Error with the answer when it is none of success. */
  async call(method: string, path: string, body?: object): Promise<unknown> {
    const response = await fetch(`${this.#url()}/v1/organizations/spend_limits${path}`, {
      method,
      headers: { 'x-api-key': this.#key, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) {
      throw new Error(`${method} spend_limits${path} ${JSON.stringify(body)}: ${response.status} ${text}`);
    }
    return JSON.parse(text) as unknown;
  }
}

/**
 * A time zone in which it is about noon now: budgets of a test that has nothing to do with time do not begin afresh
 * in its middle.
 */
export function quietTimeZone(now = new Date()): string {
  const offset = 12 - now.getUTCHours();
  // The sign of these names is the other way around.
  return offset === 0 ? 'Etc/GMT' : `Etc/GMT${offset > 0 ? '-' : '+'}${Math.abs(offset)}`;
}
