import { afterEach, describe, expect, it } from '@jest/globals';
import type { OperatorPolicyStore, OwnedRows } from '@claude-gateway/prisma';
import { fingerprintOf } from './compiled.ts';
import { PolicyDatabase, type Replica } from './policy-database.ts';

const OWNER = { kind: 'SpendPolicy', namespace: 'claude', name: 'everybody', uid: 'uid-1' } as const;

/** A database with one replica, which takes over a revision at once; what it is asked for can be held up on its way. */
class Store implements OperatorPolicyStore {
  revision = 1n;
  /** What answers to `replicas` wait for after they were read. */
  heldUp: Promise<void> = Promise.resolve();
  readonly #owned = new Map<string, OwnedRows>();

  silentMs = 0;

  replaceOwned(changes: readonly OwnedRows[]) {
    this.revision += 1n;
    for (const rows of changes) this.#owned.set(rows.owner.uid, rows);
    return Promise.resolve({ revision: this.revision, changed: changes.map(({ owner }) => owner.uid) });
  }

  readOwned() {
    return Promise.resolve({ revision: this.revision, owned: new Map(this.#owned) });
  }

  async replicas(): Promise<readonly Replica[]> {
    const replica = {
      id: 'main-1',
      name: 'main-1',
      silentMs: this.silentMs,
      version: '0.1.0',
      policyRevision: this.revision,
      seenAt: new Date(),
    };
    await this.heldUp;
    return [replica];
  }

  spending() {
    return Promise.resolve([]);
  }

  seen() {
    return Promise.resolve({ groups: new Set<string>(), users: new Set<string>() });
  }

  settingsClients() {
    return Promise.resolve(new Map<string, { current: number; stale: number }>());
  }
}

describe('a database of policies', () => {
  let database: PolicyDatabase | undefined;

  afterEach(() => database?.close());

  it('does not fall back to what replicas ran before, when an older answer comes in later', async () => {
    const store = new Store();
    const { promise: known, resolve: becameKnown } = Promise.withResolvers<void>();
    const open = (database = new PolicyDatabase({
      store,
      name: 'test',
      subjects: () => ({ groups: [], users: [] }),
      onChange: (owners) => {
        if (owners === 'all') becameKnown();
      },
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
      followInterval: 5,
    }));
    await known;
    const { promise, resolve: letThrough } = Promise.withResolvers<void>();
    store.heldUp = promise;
    const refreshed = open.refresh();
    // Its question is on the way before the next one is asked.
    await new Promise((resolve) => setImmediate(resolve));
    store.heldUp = Promise.resolve();

    const rows: OwnedRows = { owner: OWNER, policyName: 'everybody', limits: [], managed: [] };
    const compiled = { rows, fingerprint: fingerprintOf(rows), problems: [], warnings: [] };
    await open.sync({ policies: new Map([[OWNER.uid, compiled]]), namespaces: new Set(['claude']) });
    while (open.replicas[0]?.policyRevision !== 2n) await new Promise((resolve) => setImmediate(resolve));
    letThrough();
    await refreshed;
    expect(open.replicas[0]?.policyRevision).toBe(2n);
  });

  it('tells of ready pods that fell silent, or were never heard of, and of their return', async () => {
    const store = new Store();
    const open = (database = new PolicyDatabase({
      store,
      name: 'test',
      subjects: () => ({ groups: [], users: [] }),
      onChange: () => undefined,
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    }));
    await open.setReadyPods('claude/main', ['main-1', 'main-2']);
    expect(open.silentPods('claude/main')).toEqual(['main-2']);
    expect(open.silentPods('claude/other')).toEqual([]);
    expect(open.replicas).toHaveLength(1);
    store.silentMs = 20_000;
    await open.refresh();
    expect(open.silentPods('claude/main')).toEqual(['main-1', 'main-2']);
    // Nobody counts it among those that enforce.
    expect(open.replicas).toHaveLength(0);
    store.silentMs = 100;
    await open.setReadyPods('claude/main', ['main-1']);
    await open.refresh();
    expect(open.silentPods('claude/main')).toEqual([]);
  });
});
