import { lowerAscii } from '@claude-gateway/contract';
import type { LimitStore, SpendLimit } from '@claude-gateway/prisma';
import type { AdminDependencies, CapReader } from './dependencies.ts';
import type { LimitKey } from './limit-input.ts';

/** All limits as they are now, and what they mean. */
export interface LimitSnapshot {
  /** In the order in which they were made. */
  readonly limits: readonly SpendLimit[];
  readonly caps: CapReader;
  get(id: string): SpendLimit | undefined;
  /** The limit with this key; one made here goes before one of a custom resource. */
  find(key: LimitKey): SpendLimit | undefined;
}

/**
 * Limits for reading: read again only when the revision is another one, so that every answer has what was written
 * before, on whichever replica.
 */
export class LimitSnapshots {
  readonly #store: Pick<LimitStore, 'readAll' | 'revision'>;
  readonly #compile: AdminDependencies['compileCaps'];
  #newest: { readonly revision: bigint; readonly snapshot: LimitSnapshot } | undefined;

  constructor(
    store: Pick<LimitStore, 'readAll' | 'revision'>,
    compileCaps: AdminDependencies['compileCaps'],
  ) {
    this.#store = store;
    this.#compile = compileCaps;
  }

  /** @throws StoreUnavailableError */
  async current(): Promise<LimitSnapshot> {
    const revision = await this.#store.revision();
    if (this.#newest?.revision === revision) return this.#newest.snapshot;
    const set = await this.#store.readAll();
    const snapshot = snapshotOf(set.limits, () => this.#compile(set));
    this.#newest = { revision: set.revision, snapshot };
    return snapshot;
  }
}

/** Compiled when first asked for: limits that cannot be enforced can still be listed, and repaired. */
function snapshotOf(limits: readonly SpendLimit[], compile: () => CapReader): LimitSnapshot {
  let caps: CapReader | undefined;
  const byId = new Map(limits.map((limit) => [limit.id, limit]));
  const byKey = new Map<string, SpendLimit>();
  for (const limit of limits) {
    const key = textOf(limit);
    if (limit.owner === null || !byKey.has(key)) byKey.set(key, limit);
  }
  return {
    limits,
    get caps() {
      return (caps ??= compile());
    },
    get: (id) => byId.get(id),
    find: (key) => byKey.get(textOf(key)),
  };
}

function textOf({ scope, period, unit, sharing }: LimitKey): string {
  const name =
    scope.type === 'user' ? normalUser(scope.user) : scope.type === 'rbac_group' ? scope.group : '';
  return JSON.stringify([scope.type, name, period, unit, sharing]);
}

/** Addresses are stored with their ASCII letters in lower case. */
function normalUser(user: string): string {
  return user.includes('@') ? lowerAscii(user) : user;
}
