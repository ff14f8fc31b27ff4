import { startPostgres, type RunningPostgres } from '@claude-gateway/dev';
import { openStore, type Store } from '@claude-gateway/prisma';
import { afterAll, beforeAll } from '@jest/globals';

/** What a test file has from its `beforeAll` to its `afterAll`. */
export interface TestStores {
  readonly postgres: RunningPostgres;
  /** All on one database, as replicas have them. */
  readonly stores: readonly Store[];
  /** The first of them. */
  readonly store: Store;
}

/** A real PostgreSQL and `count` stores on one fresh database of it, for the whole test file. */
export function useStores(count = 1): TestStores {
  let postgres: RunningPostgres | undefined;
  const stores: Store[] = [];
  beforeAll(async () => {
    postgres = await startPostgres();
    const url = await postgres.createDatabase();
    while (stores.length < count) {
      stores.push(
        await openStore({ url, maxConnections: 4, connectTimeoutSeconds: 20, revocationTtlSeconds: 3600 }),
      );
    }
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await postgres?.stop();
  });
  return {
    get postgres() {
      return started(postgres);
    },
    stores,
    get store() {
      return started(stores[0]);
    },
  };
}

function started<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('useStores: only inside tests and hooks');
  return value;
}
