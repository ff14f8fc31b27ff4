import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { findPostgres, startPostgres, type RunningPostgres } from '@claude-gateway/dev';
import pg from 'pg';
import { newPool, Target } from '../connection.ts';
import { openStore } from '../store.ts';
import type { Identity, NewDeviceGrant, Store, StoreOptions } from '../types.ts';

/** Both ends of what we support; the older one where it can be had. */
export const POSTGRES_VERSIONS = [11, 18].filter((version) => {
  if (findPostgres(version) !== null) return true;
  process.stderr.write(
    `no PostgreSQL ${version} here: let POSTGRES_${version}_BIN name its directory to test it too\n`,
  );
  return false;
});

export interface TestPostgres {
  /** Of a database that all tests of the block share. */
  url: string;
  server: RunningPostgres;
  open(options?: Partial<StoreOptions>): Promise<Store>;
  /** As superuser, beside the store. @returns the rows as arrays. */
  sql(text: string, values?: unknown[], url?: string): Promise<unknown[][]>;
}

/** A server for the tests of a `describe` block, and stores that are closed after each test. */
export function usePostgres(version: number): TestPostgres {
  const stores: Store[] = [];
  const context = {
    async open(options: Partial<StoreOptions> = {}): Promise<Store> {
      const store = await openStore({
        url: context.url,
        maxConnections: 10,
        connectTimeoutSeconds: 10,
        revocationTtlSeconds: 3600,
        ...options,
      });
      stores.push(store);
      return store;
    },
    async sql(text: string, values: unknown[] = [], url = context.url): Promise<unknown[][]> {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      try {
        return (await client.query<unknown[]>({ text, values, rowMode: 'array' })).rows;
      } finally {
        await client.end();
      }
    },
  } as TestPostgres;
  beforeAll(async () => {
    context.server = await startPostgres({ version });
    context.url = await context.server.createDatabase();
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
  });
  afterAll(() => context.server.stop());
  return context;
}

export const NOW = new Date('2027-03-01T12:00:00.000Z');

/** A moment after (or before) NOW. */
export function at(ms: number): Date {
  return new Date(NOW.getTime() + ms);
}

export function hash(text: string = randomUUID()): Buffer {
  return createHash('sha256').update(text).digest();
}

export function newGrant(overrides: Partial<NewDeviceGrant> = {}): NewDeviceGrant {
  return {
    deviceCodeHash: randomBytes(32),
    userCodeHash: randomBytes(32),
    surface: 'claude_code',
    clientAddress: '2001:db8::1',
    createdAt: NOW,
    expiresAt: at(600_000),
    intervalSeconds: 5,
    ...overrides,
  };
}

export function newIdentity(overrides: Partial<Identity> = {}): Identity {
  const sub = randomUUID();
  return {
    sub,
    provider: 'https://idp.example',
    email: `${sub}@Example.com`,
    name: 'Ada',
    groups: ['eng', 'a "b"'],
    ...overrides,
  };
}

/** Waits for something that is on its way. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (performance.now() < deadline) {
    if (await condition()) return;
    await sleep(10);
  }
  expect(await condition()).toBe(true);
}

/** A pool beside the stores. The server may go before the last goodbye has arrived: nobody's error. */
export function testPool(url: string, max = 10): pg.Pool {
  const pool = newPool(new Target({ url }), { max });
  pool.on('error', () => undefined);
  return pool;
}
