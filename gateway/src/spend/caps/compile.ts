import { lowerAscii } from '@claude-gateway/contract';
import type { BudgetPeriod, BudgetSubject, LimitSet, SpendLimit, WindowSpec } from '@claude-gateway/prisma';
import { RecentMap } from '../../recent-map.ts';
import type { AppliedCap, CapHolder, CapSnapshot, DecidingLimit } from '../types.ts';
import {
  indexLimits,
  slotOf,
  SLOTS,
  tightestOf,
  widestOf,
  type FiniteLimit,
  type Level,
  type Levels,
  type LimitIndex,
} from './limit-index.ts';
import { windowTimes } from './periods.ts';
import { windowId } from './window-id.ts';

/** How several groups of one person go together: `admin.*` of the configuration. */
export interface CapOptions {
  /** `group_limit_mode`: of several groups' caps per member the tightest counts, or the widest. */
  readonly groupLimitMode: 'min' | 'max';
  /**
   * `pooled_conflict_rule`: which pool pays for a member of several. Without it a request must fit all of them, and
   * all of them pay.
   */
  readonly pooledConflictRule?: 'default_order' | 'priority_list';
  /** `pooled_priority_order`: groups whose pools are asked first, in this order. */
  readonly pooledPriorityOrder?: readonly string[];
  /** `enforcement.warn_at_percent`: thresholds of limits that name none. */
  readonly warnAtPercent?: readonly number[];
}

/** People whose caps are remembered. One that is forgotten costs some microseconds. */
const MAX_HOLDERS = 50_000;

interface Resolved {
  readonly groups: readonly string[];
  readonly email: string | undefined;
  /** Until the first of its windows ends. */
  readonly from: number;
  readonly until: number;
  readonly caps: readonly AppliedCap[];
}

type Source = AppliedCap['source'];

interface Decision {
  readonly source: Source;
  readonly level: Level;
}

/**
 * Makes one revision ready to be asked. Which limit applies: for each period and unit the user's own, or else those of
 * their groups, or else the organization's; and every pool besides. docs/reference-differences.md has the details.
 *
 * @throws LimitSetError naming every limit that cannot be enforced.
 */
export function compileCaps(set: LimitSet, options: CapOptions): CapSnapshot {
  const { warnAtPercent = [] } = options;
  const limits = set.limits.map((limit) =>
    limit.warnAtPercent.length === 0 ? { ...limit, warnAtPercent } : limit,
  );
  return new CompiledCaps(set.revision, indexLimits(limits), options);
}

class CompiledCaps implements CapSnapshot {
  readonly revision: bigint;
  readonly #index: LimitIndex;
  readonly #options: CapOptions;
  readonly #ranks: ReadonlyMap<string, number>;
  readonly #resolved = new RecentMap<string, Resolved>(MAX_HOLDERS);
  /** Pools' windows are the same for everybody. */
  readonly #poolWindows = new Map<SpendLimit, WindowSpec>();

  constructor(revision: bigint, index: LimitIndex, options: CapOptions) {
    this.revision = revision;
    this.#index = index;
    this.#options = options;
    const first = options.pooledConflictRule === 'priority_list' ? (options.pooledPriorityOrder ?? []) : [];
    this.#ranks = new Map(first.map((group, rank) => [group, rank]));
  }

  namesGroup(group: string): boolean {
    return this.#index.groups.has(group) || this.#index.groupPools.has(group);
  }

  resolve(principal: CapHolder, at: number): readonly AppliedCap[] {
    const known = this.#resolved.get(principal.sub);
    if (
      known !== undefined &&
      at < known.until &&
      at >= known.from &&
      known.email === principal.email &&
      isSameList(known.groups, principal.groups)
    ) {
      return known.caps;
    }
    const caps = this.#find(principal, at);
    let [from, until] = [-Infinity, Infinity];
    for (let cap of caps) {
      for (;;) {
        from = Math.max(from, cap.window.startsAt.getTime());
        until = Math.min(until, cap.window.endsAt.getTime());
        if (cap.otherwise === undefined) break;
        cap = cap.otherwise;
      }
    }
    const { groups, email } = principal;
    this.#resolved.set(principal.sub, { groups, email, from, until, caps });
    return caps;
  }

  memberLimit(principal: CapHolder, period: BudgetPeriod, at: number): DecidingLimit | undefined {
    const slot = slotOf({ period, unit: 'nano_usd' });
    const decision = this.#decide(slot, usersOf(this.#index, principal), new Set(principal.groups));
    if (decision === undefined) return undefined;
    const { limit } = decision.level;
    return { limit, source: decision.source, window: windowOf(limit, userOf(principal), at) };
  }

  #find(principal: CapHolder, at: number): readonly AppliedCap[] {
    const caps: AppliedCap[] = [];
    const subject = userOf(principal);
    const users = usersOf(this.#index, principal);
    const groups = new Set(principal.groups);
    for (let slot = 0; slot < SLOTS.length; slot++) {
      const decision = this.#decide(slot, users, groups);
      if (decision !== undefined) {
        for (const limit of decision.level.caps) {
          caps.push(capOf(limit, decision.source, windowOf(limit, subject, at)));
        }
      }
      caps.push(...this.#groupPools(slot, groups, at));
      for (const limit of this.#index.organizationPool[slot]?.caps ?? []) {
        caps.push(this.#pool(limit, 'organization', { kind: 'organization_pool' }, at));
      }
    }
    return caps;
  }

  #decide(slot: number, users: readonly Levels[], groups: ReadonlySet<string>): Decision | undefined {
    const own = tightestOf(users.flatMap((levels) => levels[slot] ?? []));
    if (own !== undefined) return { source: 'user', level: own };
    if (this.#index.groups.size > 0) {
      const ofGroups: Level[] = [];
      for (const group of groups) {
        const level = this.#index.groups.get(group)?.[slot];
        if (level !== undefined) ofGroups.push(level);
      }
      const level = this.#options.groupLimitMode === 'min' ? tightestOf(ofGroups) : widestOf(ofGroups);
      if (level !== undefined) return { source: 'group', level };
    }
    const level = this.#index.organization[slot];
    return level && { source: 'organization', level };
  }

  #groupPools(slot: number, groups: ReadonlySet<string>, at: number): readonly AppliedCap[] {
    if (this.#index.groupPools.size === 0) return [];
    const pools: AppliedCap[] = [];
    for (const group of groups) {
      for (const limit of this.#index.groupPools.get(group)?.[slot]?.caps ?? []) {
        pools.push(this.#pool(limit, 'group', { kind: 'group_pool', group }, at));
      }
    }
    if (this.#options.pooledConflictRule === undefined || pools.length === 0) return pools;
    return this.#onePays(pools);
  }

  /** Of the pools in one time zone the first pays, and the next when that has no room. */
  #onePays(pools: readonly AppliedCap[]): readonly AppliedCap[] {
    const chains = new Map<string, AppliedCap>();
    for (const pool of pools.toSorted((a, b) => this.#order(b, a))) {
      const { timeZone } = pool.limit;
      const otherwise = chains.get(timeZone);
      const paying = { ...pool, window: { ...pool.window, namedOnly: true as const } };
      chains.set(timeZone, otherwise === undefined ? paying : { ...paying, otherwise });
    }
    return [...chains.values()];
  }

  /** Groups of the list in its order, then the others: larger pools first, equal ones by their group's name. */
  #order(a: AppliedCap, b: AppliedCap): number {
    const [name, otherName] = [poolNameOf(a), poolNameOf(b)];
    const last = this.#ranks.size;
    const [rank, otherRank] = [this.#ranks.get(name) ?? last, this.#ranks.get(otherName) ?? last];
    if (rank !== otherRank) return rank - otherRank;
    if (a.amount !== b.amount) return a.amount > b.amount ? -1 : 1;
    return name < otherName ? -1 : 1;
  }

  #pool(limit: FiniteLimit, source: Source, subject: BudgetSubject, at: number): AppliedCap {
    let window = this.#poolWindows.get(limit);
    if (window === undefined || at < window.startsAt.getTime() || at >= window.endsAt.getTime()) {
      window = windowOf(limit, subject, at);
      this.#poolWindows.set(limit, window);
    }
    return capOf(limit, source, window);
  }
}

function capOf(limit: FiniteLimit, source: Source, window: WindowSpec): AppliedCap {
  return { limit, amount: limit.amount, source, subject: window.subject, window };
}

function poolNameOf({ subject }: AppliedCap): string {
  return subject.kind === 'group_pool' ? subject.group : '';
}

/** A person is meant by subject or by address; both at once is the tightest of both. */
function usersOf({ users }: LimitIndex, { sub, email }: CapHolder): readonly Levels[] {
  if (users.size === 0) return [];
  const names = new Set([sub]);
  // Names with an @ are kept in lower case, whether they are addresses or not.
  if (sub.includes('@')) names.add(lowerAscii(sub));
  if (email !== undefined) names.add(lowerAscii(email));
  return [...names].flatMap((name) => [users.get(name) ?? []]);
}

function userOf({ sub }: CapHolder): BudgetSubject {
  return { kind: 'user', sub };
}

function windowOf({ unit, period, timeZone }: SpendLimit, subject: BudgetSubject, at: number): WindowSpec {
  const times = windowTimes(period, timeZone, at);
  const window = {
    subject,
    unit,
    period,
    timeZone,
    startsAt: new Date(times.startsAt),
    endsAt: new Date(times.endsAt),
  };
  return { id: windowId(window), ...window };
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((text, i) => text === b[i]));
}
