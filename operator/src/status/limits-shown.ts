import type { LimitContent } from '@claude-gateway/prisma';
import type { OnGateway, PolicySpending, SpendPolicyFacts } from './facts.ts';

/** One limit on one gateway. */
export interface ShownLimit {
  readonly gateway: string;
  readonly content: LimitContent;
  /** Undefined as long as it is not known. */
  readonly spending: PolicySpending | undefined;
}

/**
 * The limits in force on each gateway; where nothing is in force yet, those that are wanted. Spending is read seldom, and
 * may be of the version before: a limit that has just been changed shows with its new amount and what was spent of the
 * old one. The one nearest its end comes first, equal ones in an order that does not change.
 */
export function limitsShown({ gateways, limits, spending }: SpendPolicyFacts): readonly ShownLimit[] {
  const read = Map.groupBy(spending, ({ gateway }) => gateway);
  return gateways
    .flatMap((gateway) => limitsOn(gateway, limits, read.get(gateway.name) ?? []))
    .map((limit) => ({ limit, utilization: utilization(limit), key: keyOf(limit) }))
    .sort((a, b) => (a.utilization === b.utilization ? order(a.key, b.key) : b.utilization - a.utilization))
    .map(({ limit }) => limit);
}

function limitsOn(
  { name: gateway, revision }: OnGateway,
  wanted: readonly LimitContent[],
  read: readonly PolicySpending[],
): readonly ShownLimit[] {
  const written = revision !== undefined && wanted.length > 0;
  if (!written && read.length > 0)
    return read.map((spending) => ({ gateway, content: spending.content, spending }));
  return wanted.map((content) => ({
    gateway,
    content,
    spending: read.find((one) => isSameWindow(one.content, content)),
  }));
}

function isSameWindow(a: LimitContent, b: LimitContent): boolean {
  return a.period === b.period && a.unit === b.unit && a.sharing === b.sharing && a.timeZone === b.timeZone;
}

/** For the order alone, so that it need not be exact. */
function utilization({ content: { amount }, spending }: ShownLimit): number {
  if (amount === null) return -1;
  return amount === 0n ? Infinity : Number(spending?.spent ?? 0n) / Number(amount);
}

const PERIODS = ['daily', 'weekly', 'monthly'];
const keyOf = ({ content, gateway }: ShownLimit): string =>
  [PERIODS.indexOf(content.period), content.sharing, content.unit, gateway].join(' ');
const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
