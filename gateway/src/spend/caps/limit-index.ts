import { lowerAscii } from '@claude-gateway/contract';
import type { BudgetPeriod, BudgetUnit, LimitScope, SpendLimit } from '@claude-gateway/prisma';
import { isTimeZone } from './periods.ts';

const PERIODS: readonly BudgetPeriod[] = ['daily', 'weekly', 'monthly'];
const UNITS: readonly BudgetUnit[] = ['nano_usd', 'tokens', 'tokens_with_cache_reads'];

/** One period and unit: limits of different ones never decide about each other. */
export interface Slot {
  readonly period: BudgetPeriod;
  readonly unit: BudgetUnit;
}

export const SLOTS: readonly Slot[] = PERIODS.flatMap((period) => UNITS.map((unit) => ({ period, unit })));

export type FiniteLimit = SpendLimit & { readonly amount: bigint };

/** What one level (a user, a group, the organization) says about one slot. */
export interface Level {
  /** The tightest of all, whatever the zone; unlimited when all are. */
  readonly limit: SpendLimit;
  /** The tightest of each time zone: each is a budget of its own. Empty when unlimited. */
  readonly caps: readonly FiniteLimit[];
}

/** What one scope says, by the position of the slot in {@link SLOTS}. */
export type Levels = readonly (Level | undefined)[];

/** Limits by whom they are for. Maps: a group may be called `__proto__`. */
export interface LimitIndex {
  /** Subjects, and addresses in lower case. */
  readonly users: ReadonlyMap<string, Levels>;
  readonly groups: ReadonlyMap<string, Levels>;
  readonly organization: Levels;
  readonly groupPools: ReadonlyMap<string, Levels>;
  readonly organizationPool: Levels;
}

/** Limits that nobody can enforce. */
export class LimitSetError extends Error {
  override readonly name = 'LimitSetError';
  /** One for each limit that is wrong, with its id. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`limits cannot be enforced: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/** @throws LimitSetError naming every limit that is wrong. */
export function indexLimits(limits: readonly SpendLimit[]): LimitIndex {
  const zones = new Map<string, boolean>();
  const problems = limits.flatMap((limit) => problemOf(limit, zones) ?? []);
  if (problems.length > 0) throw new LimitSetError(problems);

  const of = (type: LimitScope['type'], sharing: SpendLimit['sharing']): Map<string, Levels> => {
    const byName = new Map<string, SpendLimit[]>();
    for (const limit of limits) {
      if (limit.scope.type !== type || limit.sharing !== sharing) continue;
      const name = nameOf(limit.scope);
      const others = byName.get(name);
      if (others === undefined) byName.set(name, [limit]);
      else others.push(limit);
    }
    return new Map([...byName].map(([name, found]) => [name, levelsOf(found)]));
  };
  return {
    users: of('user', 'per_member'),
    groups: of('rbac_group', 'per_member'),
    organization: of('organization', 'per_member').get('') ?? [],
    groupPools: of('rbac_group', 'pooled'),
    organizationPool: of('organization', 'pooled').get('') ?? [],
  };
}

/** The tightest of several limits for one slot. Unlimited ones count only when all are. */
function levelOf(limits: readonly SpendLimit[]): Level | undefined {
  let tightest = limits[0];
  if (tightest === undefined) return undefined;
  const caps = new Map<string, FiniteLimit>();
  for (const limit of limits) {
    if (isTighter(limit, tightest)) tightest = limit;
    if (!isLimited(limit)) continue;
    const other = caps.get(limit.timeZone);
    if (other === undefined || isTighter(limit, other)) caps.set(limit.timeZone, limit);
  }
  return { limit: tightest, caps: [...caps.values()] };
}

/** The widest of several groups, unlimited before everything. Within one group the tightest has already won. */
export function widestOf(levels: readonly Level[]): Level | undefined {
  return levels.reduce<Level | undefined>(
    (widest, level) => (widest === undefined || isTighter(widest.limit, level.limit) ? level : widest),
    undefined,
  );
}

/** The tightest of several levels that count alike. */
export function tightestOf(levels: readonly Level[]): Level | undefined {
  if (levels.length < 2) return levels[0];
  return levelOf(
    levels.flatMap(({ limit, caps }): readonly SpendLimit[] => (caps.length === 0 ? [limit] : caps)),
  );
}

function levelsOf(limits: readonly SpendLimit[]): Levels {
  const bySlot: SpendLimit[][] = SLOTS.map(() => []);
  for (const limit of limits) bySlot[slotOf(limit)]?.push(limit);
  return bySlot.map(levelOf);
}

/** The position in {@link SLOTS}. */
export function slotOf({ period, unit }: Slot): number {
  return PERIODS.indexOf(period) * UNITS.length + UNITS.indexOf(unit);
}

function isLimited(limit: SpendLimit): limit is FiniteLimit {
  return limit.amount !== null;
}

const STRICTNESS: Record<SpendLimit['mode'], number> = { strict: 0, bounded: 1, postpaid: 2 };

/** Of equal amounts the stricter mode, then the older limit: the same on every replica. */
function isTighter(a: SpendLimit, b: SpendLimit): boolean {
  if (a.amount !== b.amount) return a.amount !== null && (b.amount === null || a.amount < b.amount);
  if (a.mode !== b.mode) return STRICTNESS[a.mode] < STRICTNESS[b.mode];
  const [made, otherMade] = [a.createdAt.getTime(), b.createdAt.getTime()];
  return made === otherMade ? a.id < b.id : made < otherMade;
}

function nameOf(scope: LimitScope): string {
  switch (scope.type) {
    case 'organization':
      return '';
    case 'rbac_group':
      return scope.group;
    case 'user':
      return scope.user.includes('@') ? lowerAscii(scope.user) : scope.user;
  }
}

function problemOf(limit: SpendLimit, zones: Map<string, boolean>): string | undefined {
  const { id, policyName, scope, sharing, amount, timeZone } = limit;
  const name = policyName === null ? id : `${id} (${policyName})`;
  let known = zones.get(timeZone);
  if (known === undefined) zones.set(timeZone, (known = isTimeZone(timeZone)));
  if (!known)
    return `${name}: there is no time zone ${JSON.stringify(timeZone)}; use a name such as Europe/Berlin`;
  if (amount !== null && amount < 0n) return `${name}: the amount is below zero`;
  if (scope.type === 'user' && sharing === 'pooled') return `${name}: one user cannot share a pool`;
  if (!PERIODS.includes(limit.period) || !UNITS.includes(limit.unit)) {
    return `${name}: this version does not know ${limit.period} limits of ${limit.unit}`;
  }
  return undefined;
}
