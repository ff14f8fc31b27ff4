import { createHash } from 'node:crypto';
import type { BudgetPeriod, LimitSet, SpendLimit, WindowSpec } from '@claude-gateway/prisma';
import type { CapHolder, CapReader, DecidingLimit } from '../dependencies.ts';
import { startOf } from '../periods.ts';

/** Enough of enforcement's resolution: user, then the first group that has one, then the organization. */
export function compileCaps({ limits }: LimitSet): CapReader {
  const find = (
    holder: CapHolder,
    period: BudgetPeriod,
  ): [SpendLimit, DecidingLimit['source']] | undefined => {
    const own = limits.filter(
      (limit) => limit.period === period && limit.unit === 'nano_usd' && limit.sharing === 'per_member',
    );
    const user = own.find(
      ({ scope }) => scope.type === 'user' && [holder.sub, holder.email?.toLowerCase()].includes(scope.user),
    );
    if (user !== undefined) return [user, 'user'];
    const group = own.find(({ scope }) => scope.type === 'rbac_group' && holder.groups.includes(scope.group));
    if (group !== undefined) return [group, 'group'];
    const organization = own.find(({ scope }) => scope.type === 'organization');
    return organization === undefined ? undefined : [organization, 'organization'];
  };
  const memberLimit: CapReader['memberLimit'] = (holder, period, at) => {
    const found = find(holder, period);
    if (found === undefined) return undefined;
    const [limit, source] = found;
    return { limit, source, window: windowOf(holder.sub, limit, at) };
  };
  return {
    memberLimit,
    resolve: (holder, at) =>
      (['daily', 'weekly', 'monthly'] as const).flatMap((period) => {
        const deciding = memberLimit(holder, period, at);
        return deciding === undefined || deciding.limit.amount === null
          ? []
          : [{ ...deciding, amount: deciding.limit.amount }];
      }),
  };
}

/** As enforcement names it: the same id for the same window. */
export function windowOf(sub: string, { period, timeZone, unit }: SpendLimit, at: number): WindowSpec {
  const startsAt = startOf(period, new Date(at), timeZone);
  const subject = { kind: 'user', sub } as const;
  const endsAt = new Date(startsAt.getTime() + 86_400_000);
  const digest = createHash('sha256')
    .update(`${sub} ${unit} ${period} ${timeZone} ${startsAt.getTime()}`)
    .digest('hex');
  const id = `${digest.slice(0, 8)}-${digest.slice(8, 12)}-4${digest.slice(13, 16)}-8${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
  return { id, subject, unit, period, timeZone, startsAt, endsAt };
}
