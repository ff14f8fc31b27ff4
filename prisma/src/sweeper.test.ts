import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Database } from './database.ts';
import { LOCK_CLASS } from './migrations.ts';
import { RETENTION_MS, Sweeper } from './sweeper.ts';
import {
  at,
  hash,
  newGrant,
  newIdentity,
  NOW,
  POSTGRES_VERSIONS,
  usePostgres,
  testPool,
} from './testing/postgres.ts';

describe.each(POSTGRES_VERSIONS)('the sweeper on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  async function withSweeper<T>(work: (sweeper: Sweeper, database: Database) => Promise<T>): Promise<T> {
    const database = new Database(testPool(postgres.url));
    try {
      return await work(new Sweeper(database, undefined), database);
    } finally {
      await database.close();
    }
  }

  it('removes what has expired and leaves the rest', async () => {
    const store = await postgres.open({ revocationTtlSeconds: 600 });
    const grant = newGrant();
    await store.deviceGrants.create(grant);
    const found = await store.deviceGrants.findByUserCode(grant.userCodeHash, NOW);
    const attempt = {
      stateHash: hash(),
      browserHash: hash(),
      grantId: found?.id ?? '',
      provider: 'p',
      secretsSealed: Buffer.alloc(1),
      expiresAt: at(300_000),
    };
    await store.deviceGrants.startSignIn(attempt);
    await store.rateLimits.hit('key', { max: 1, windowSeconds: 60 }, NOW);
    const session = (id: string, token: Buffer) => ({
      id,
      identity: newIdentity(),
      refreshTokenHash: token,
      idpRefreshTokenSealed: null,
      now: NOW,
    });
    const [active, revoked, token] = [randomUUID(), randomUUID(), hash()];
    await store.sessions.create(session(active, token));
    await store.sessions.create(session(revoked, hash()));
    await store.sessions.revoke(revoked, 'test', NOW);
    const rotation = {
      usedTokenHash: token,
      newTokenHash: hash(),
      identity: newIdentity(),
      idpRefreshTokenSealed: null,
    };
    await store.sessions.rotate(active, { ...rotation, now: at(1_000) });

    await withSweeper(async (sweeper) => {
      expect(await sweeper.sweep(at(300_000))).toEqual({});
      expect(await sweeper.sweep(at(1_000_000))).toEqual({
        sign_in_attempts: 1,
        device_grants: 1,
        rate_limit_windows: 1,
        revocations: 1,
      });
      expect(await sweeper.sweep(at(RETENTION_MS))).toEqual({});
      expect(await sweeper.sweep(at(RETENTION_MS + 500))).toEqual({ sessions: 1 });
      expect((await store.sessions.list({ limit: 10 })).map(({ id }) => id)).toEqual([active]);
      expect(await sweeper.sweep(at(RETENTION_MS + 1_500))).toEqual({
        replaced_refresh_tokens: 1,
        sessions: 1,
      });
      expect(await sweeper.sweep(at(2 * RETENTION_MS))).toEqual({});
    });
  });

  it('forgets clients of managed settings after a day', async () => {
    const store = await postgres.open();
    const documents = [{ ownerUid: 'm', documentHash: 'sha256:x' }];
    await store.settingsClients.record([{ client: 'c', principal: 'ada', documents, at: NOW }]);
    await withSweeper(async (sweeper) => {
      expect(await sweeper.sweep(at(24 * 3_600_000))).not.toHaveProperty('settings_clients');
      expect(await sweeper.sweep(at(24 * 3_600_000 + 1))).toMatchObject({ settings_clients: 1 });
    });
  });

  it('works in batches, and leaves them to the replica that is at it', async () => {
    await postgres.open();
    await postgres.sql(
      `insert into claude_gateway.rate_limit_windows select 'k' || n, $1, $1, 1 from generate_series(1, 2500) n`,
      [NOW],
    );
    await withSweeper(async (sweeper, database) => {
      const other = await database.pool.connect();
      await other.query('begin');
      await other.query('select pg_advisory_xact_lock($1, 2)', [LOCK_CLASS]);
      expect(await sweeper.sweep(at(1e9))).toEqual({});
      await other.query('rollback');
      other.release();
      const [first, second] = await Promise.all([sweeper.sweep(at(1e9)), sweeper.sweep(at(1e9))]);
      const rest = await sweeper.sweep(at(1e9));
      const removed = [first, second, rest].map(({ rate_limit_windows = 0 }) => rate_limit_windows);
      expect(removed.reduce((sum, n) => sum + n)).toBe(2_500);
    });
  });
});
