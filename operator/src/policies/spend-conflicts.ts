import { lowerAscii } from '@claude-gateway/contract';
import type { ClaudeGateway, SpendPolicy } from '@claude-gateway/crds';
import type { LimitContent } from '@claude-gateway/prisma';
import { ConflictList, shortName, type Conflicts } from './conflict-list.ts';
import { limitsOf } from './limits.ts';
import { gatewayNames, Reach, type Database } from './reach.ts';

/** One limit of a policy. */
interface Entry {
  readonly policy: SpendPolicy;
  readonly limit: LimitContent;
}

/**
 * Spend policies that limit the same subject in the same period, unit and sharing on a common gateway, in the words of what the
 * gateway does: in one time zone the lowest amount counts, in several zones the lowest of each, unlimited beside a limit
 * not at all. Each policy is compared with the one that counts, and not with every other.
 *
 * @param policies Of one namespace, as {@link gateways}. They must not change afterwards: what is compiled is kept.
 */
export function spendConflicts(
  policies: readonly SpendPolicy[],
  gateways: readonly ClaudeGateway[],
): Conflicts {
  const bySubject = new Map<string, Entry[]>();
  for (const policy of policies) {
    for (const { key, limit } of keyedLimits(policy)) add(bySubject, key, { policy, limit });
  }
  const reach = new Reach(gateways);
  const found = new ConflictList(reach);
  for (const all of bySubject.values()) {
    if (all.length < 2) continue;
    const byDatabase = new Map<Database, Entry[]>();
    for (const entry of all) for (const database of reach.of(entry.policy)) add(byDatabase, database, entry);
    for (const [database, entries] of byDatabase)
      if (entries.length > 1) compare(entries, gatewayNames([database]), found);
  }
  return found.byUid();
}

function compare(entries: readonly Entry[], gateways: readonly string[], found: ConflictList): void {
  const tell = (one: Entry, other: Entry): void => {
    const sentence = `both limit ${whatOf(one.limit)}: ${verdict(one, other)}`;
    found.add(one.policy, other.policy, sentence, gateways);
  };
  const winners = new Map<string, Entry>();
  for (const entry of entries) {
    if (entry.limit.amount === null) continue;
    const { timeZone } = entry.limit;
    const winner = winners.get(timeZone);
    if (winner === undefined || order(entry, winner) < 0) winners.set(timeZone, entry);
  }
  const lowest = [...winners.values(), ...entries].reduce((a, b) => (order(b, a) < 0 ? b : a));
  for (const entry of entries) {
    const winner = winners.get(entry.limit.timeZone);
    // The lowest of a zone counts beside the lowest of all; what is unlimited, beside none.
    const counting =
      entry.limit.amount === null || winner === undefined || winner === entry ? lowest : winner;
    if (counting !== entry) tell(counting, entry);
  }
}

const STRICTNESS = { strict: 0, bounded: 1, postpaid: 2 } as const;

/** The lower amount first, unlimited last; then the stricter mode. The name makes it the same every time. */
function order(a: Entry, b: Entry): number {
  const [one, other] = [a.limit.amount, b.limit.amount];
  if (one !== other) return one === null ? 1 : other === null || one < other ? -1 : 1;
  const byMode = STRICTNESS[a.limit.mode] - STRICTNESS[b.limit.mode];
  if (byMode !== 0) return byMode;
  return a.policy.metadata.name < b.policy.metadata.name ? -1 : 1;
}

/** @param one Counts, or counts beside `other`. */
function verdict(one: Entry, other: Entry): string {
  const [a, b] = [one.limit, other.limit];
  const [name, otherName] = [one.policy.metadata.name, other.policy.metadata.name];
  if (a.amount === null) return `${name} and ${otherName} say the same, unlimited: remove one`;
  if (b.amount === null) return `${name} counts, ${amountText(a)}; ${otherName} is unlimited`;
  if (a.timeZone !== b.timeZone)
    return `both count, ${amountText(a)} of ${name} in ${a.timeZone} and ${amountText(b)} of ${otherName} in ${b.timeZone}`;
  if (a.amount !== b.amount)
    return `${name} counts, its ${amountText(a)} are less than the ${amountText(b)} of ${otherName}`;
  if (a.mode !== b.mode)
    return `${name} counts; ${otherName} says ${amountText(b)} too, and is less strict (${MODES[a.mode]} and ${MODES[b.mode]})`;
  const fields = differences(a, b);
  if (fields.length === 0)
    return `${[name, otherName].sort().join(' and ')} say the same, ${amountText(a)}: remove one`;
  return `both say ${amountText(a)}, and differ in ${fields.join(', ')}: the one that the database got first counts`;
}

const MODES = { strict: 'Strict', bounded: 'Bounded', postpaid: 'Postpaid' } as const;

/** Fields besides amount, mode and time zone in which two limits are unlike. */
function differences(a: LimitContent, b: LimitContent): readonly string[] {
  const unlike: readonly (readonly [string, boolean])[] = [
    ['enforcement.whenShort', a.whenShort !== b.whenShort],
    ['enforcement.failurePolicy', a.failurePolicy !== b.failurePolicy],
    ['warnAtPercent', a.warnAtPercent.join() !== b.warnAtPercent.join()],
    ['blockedMessage', a.blockedMessage !== b.blockedMessage],
  ];
  return unlike.flatMap(([field, isUnlike]) => (isUnlike ? [field] : []));
}

const UNITS = {
  nano_usd: 'dollars',
  tokens: 'tokens',
  tokens_with_cache_reads: 'tokens with cache reads',
} as const;

/** `daily dollars of each member of the group eng`. */
function whatOf({ scope, period, unit, sharing }: LimitContent): string {
  const what = `${period} ${UNITS[unit]}`;
  const shared = sharing === 'pooled';
  switch (scope.type) {
    case 'organization':
      return shared ? `${what} that everybody shares` : `${what} of everybody`;
    case 'rbac_group':
      return shared
        ? `${what} that the group ${shortName(scope.group)} shares`
        : `${what} of each member of the group ${shortName(scope.group)}`;
    case 'user':
      return `${what} of ${shortName(scope.user)}`;
  }
}

const NANO_USD = 1_000_000_000n;

/** `$50.00`, `$0.000000001`, `50,000 tokens`; exact. */
function amountText({ amount, unit }: LimitContent): string {
  if (amount === null) return 'unlimited';
  if (unit !== 'nano_usd') return `${amount.toLocaleString('en-US')} tokens`;
  const fraction = String(amount % NANO_USD)
    .padStart(9, '0')
    .replace(/0{1,7}$/, '');
  return `$${(amount / NANO_USD).toLocaleString('en-US')}.${fraction}`;
}

interface KeyedLimit {
  readonly key: string;
  readonly limit: LimitContent;
}

/** Policies never change, and there may be thousands, of which one is new. */
const compiled = new WeakMap<SpendPolicy, readonly KeyedLimit[]>();

function keyedLimits(policy: SpendPolicy): readonly KeyedLimit[] {
  let known = compiled.get(policy);
  if (known === undefined) {
    const result = limitsOf(policy);
    const limits = 'limits' in result ? result.limits : [];
    compiled.set(policy, (known = limits.map((limit) => ({ key: keyOf(limit), limit }))));
  }
  return known;
}

/** Limits of one key decide about each other. */
function keyOf({ scope, period, unit, sharing }: LimitContent): string {
  return JSON.stringify([scope.type, subjectOf(scope), period, unit, sharing]);
}

function subjectOf(scope: LimitContent['scope']): string {
  switch (scope.type) {
    case 'organization':
      return '';
    case 'rbac_group':
      return scope.group;
    case 'user':
      // As the gateway: names with an @ in lower case, whether they are addresses or not.
      return scope.user.includes('@') ? lowerAscii(scope.user) : scope.user;
  }
}

function add<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [value]);
  else known.push(value);
}
