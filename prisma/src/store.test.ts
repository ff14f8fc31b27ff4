import { describe, expect, it, jest } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { StoreUnavailableError } from './errors.ts';
import {
  at,
  hash,
  newGrant,
  newIdentity,
  NOW,
  POSTGRES_VERSIONS,
  until,
  usePostgres,
} from './testing/postgres.ts';
import type { Store } from './types.ts';

/** One call of every kind: through Prisma, through SQL, in a transaction of its own. */
const calls = (store: Store): Promise<unknown>[] => [
  store.ping(),
  store.deviceGrants.create(newGrant()),
  store.deviceGrants.findByUserCode(hash(), NOW),
  store.deviceGrants.poll(hash(), NOW),
  store.deviceGrants.deny(randomUUID(), NOW),
  store.sessions.claimRefresh(hash(), { now: NOW, graceMs: 1, leaseMs: 1 }),
  store.sessions.list({ limit: 1 }),
  store.rateLimits.hit('key', { max: 9, windowSeconds: 60 }, NOW),
];

async function expectUnavailable(store: Store): Promise<void> {
  for (const call of await Promise.allSettled(calls(store))) {
    expect(call.status).toBe('rejected');
    const error = (call as PromiseRejectedResult).reason as Error;
    expect(error).toBeInstanceOf(StoreUnavailableError);
    expect(error.message).toMatch(/^store unavailable: .{3,}/);
  }
}

const session = { identity: newIdentity(), idpRefreshTokenSealed: null };

describe.each(POSTGRES_VERSIONS)('a store on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  describe('revocations', () => {
    it('reach other replicas', async () => {
      const [a, b] = await Promise.all([postgres.open(), postgres.open()]);
      const id = randomUUID();
      await a.sessions.create({ ...session, id, refreshTokenHash: hash(), now: NOW });
      expect([a, b].map((store) => store.revocations.isRevoked(id))).toEqual([false, false]);
      await a.sessions.revoke(id, 'test', new Date());
      expect(a.revocations.isRevoked(id)).toBe(true);
      await until(() => b.revocations.isRevoked(id));
    });

    it('are told to everybody, and heard without a look at the table', async () => {
      const store = await postgres.open();
      const listener = new pg.Client({ connectionString: postgres.url });
      const heard: (string | undefined)[] = [];
      listener.on('notification', ({ payload }) => heard.push(payload?.split(' ')[0]));
      await listener.connect();
      await listener.query('listen claude_gateway_revocations');
      const tokens = Array.from({ length: 4 }, () => hash());
      const [one, two, three, reused] = tokens.map(() => randomUUID()) as [string, string, string, string];
      for (const [i, id] of [one, two, three, reused].entries()) {
        const identity = newIdentity({ sub: id });
        await store.sessions.create({
          ...session,
          id,
          identity,
          refreshTokenHash: tokens[i] ?? null,
          now: NOW,
        });
      }
      await store.sessions.revoke(one, 'test', new Date());
      await store.sessions.revokeByUser({ sub: two }, 'test', new Date());
      await store.sessions.revokeByRefreshToken(tokens[2] ?? hash(), 'test', new Date());
      const [usedTokenHash, newTokenHash] = [tokens[3] ?? hash(), hash()];
      const by = { network: '192.0.2.7', program: 'claude-code' };
      const thief = { network: '203.0.113.9', program: 'curl' };
      await store.sessions.rotate(reused, { ...session, usedTokenHash, newTokenHash, now: NOW, by });
      await store.sessions.claimRefresh(usedTokenHash, { now: at(2), graceMs: 1, leaseMs: 1, by: thief });
      const stranger = randomUUID();
      await store.sessions.revoke(stranger, 'test', new Date());
      await until(() => heard.length >= 5);
      expect(heard).toEqual([one, two, three, reused, stranger]);

      const whispered = randomUUID();
      await until(async () => {
        await listener.query(`select pg_notify('claude_gateway_revocations', $1)`, [
          `${whispered} 4102444800`,
        ]);
        return store.revocations.isRevoked(whispered);
      });
      await listener.end();
    });

    it('reach them by polling when notifications are lost', async () => {
      const store = await postgres.open();
      await sleep(300);
      await postgres.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN %'`,
      );
      const id = randomUUID();
      await postgres.sql(
        `insert into claude_gateway.revocations (session_id, expires_at) values ($1, now() + interval '1 hour')`,
        [id],
      );
      await until(() => store.revocations.isRevoked(id));
      const late = randomUUID();
      // Committed two seconds after the time it carries.
      await postgres.sql(
        `insert into claude_gateway.revocations (session_id, expires_at, recorded_at)
         values ($1, now() + interval '1 hour', clock_timestamp() - interval '2 s')`,
        [late],
      );
      await until(() => store.revocations.isRevoked(late));
    });

    it('are known from the start, unless no bearer token can be alive', async () => {
      const first = await postgres.open({ revocationTtlSeconds: 60 });
      const [live, dead] = [randomUUID(), randomUUID()];
      await first.sessions.revoke(live, 'test', new Date());
      await first.sessions.revoke(dead, 'test', new Date(Date.now() - 61_000));
      const second = await postgres.open();
      expect([live, dead].map((id) => second.revocations.isRevoked(id))).toEqual([true, false]);
      expect(second.revocations.current).toBe(true);
    });
  });

  it('takes one round trip for each step of a sign-in and of a refresh', async () => {
    const store = await postgres.open();
    const [grant, id, token, next] = [newGrant(), randomUUID(), hash(), hash()];
    const identity = newIdentity();
    const rotation = {
      usedTokenHash: token,
      newTokenHash: next,
      identity,
      idpRefreshTokenSealed: null,
      now: at(2),
    };
    const query = jest.spyOn(pg.Pool.prototype, 'query');
    const connect = jest.spyOn(pg.Pool.prototype, 'connect');
    const trips = async (work: () => Promise<unknown>): Promise<number> => {
      // The feed reads once a second.
      const count = () =>
        query.mock.calls.filter(([statement]) => !JSON.stringify(statement).includes('statement_timestamp'))
          .length;
      const before = count();
      await work();
      return count() - before;
    };
    try {
      const found = () => store.deviceGrants.findByUserCode(grant.userCodeHash, NOW);
      expect(await trips(() => store.deviceGrants.create(grant))).toBe(1);
      expect(await trips(found)).toBe(1);
      const grantId = (await found())?.id ?? '';
      expect(await trips(() => store.deviceGrants.poll(grant.deviceCodeHash, NOW))).toBe(1);
      expect(await trips(() => store.deviceGrants.approve(grantId, identity, null, NOW))).toBe(1);
      expect(
        await trips(() => store.sessions.create({ ...session, id, refreshTokenHash: token, now: NOW })),
      ).toBe(1);
      expect(
        await trips(() => store.sessions.claimRefresh(token, { now: at(1), graceMs: 1, leaseMs: 1 })),
      ).toBe(1);
      expect(await trips(() => store.sessions.rotate(id, rotation))).toBe(1);
      expect(await trips(() => store.sessions.revoke(id, 'test', at(3)))).toBe(1);
      expect(await trips(() => store.rateLimits.hit('k', { max: 1, windowSeconds: 1 }, NOW))).toBe(1);
      // Transactions take a connection of the pool for themselves; queries go through the pool's own query().
      expect(connect.mock.calls.every(([callback]) => typeof callback === 'function')).toBe(true);
    } finally {
      query.mockRestore();
      connect.mockRestore();
    }
  });

  it('is opened by operators without taking part in what replicas do', async () => {
    const url = await postgres.server.createDatabase();
    // Whoever is first migrates, before any gateway runs or beside the first ones.
    const [operator, other, gateway] = await Promise.all([
      postgres.open({ url, role: 'operator', maxConnections: 3 }),
      postgres.open({ url, role: 'operator', maxConnections: 3 }),
      postgres.open({ url }),
    ]);
    await gateway.close();
    const listening = () =>
      postgres.sql(
        `select count(*)::int from pg_stat_activity where datname = $1 and query like 'LISTEN %'`,
        [new URL(url).pathname.slice(1)],
      );
    await until(async () => (await listening())[0]?.[0] === 0);
    const id = randomUUID();
    await postgres.sql(
      `insert into claude_gateway.revocations (session_id, expires_at) values ($1, now() + interval '1 hour')`,
      [id],
      url,
    );
    await Promise.all(Array.from({ length: 20 }, () => operator.policies.readOwned()));
    await sleep(2_500);
    expect(await listening()).toEqual([[0]]);
    expect(operator.revocations.isRevoked(id)).toBe(false);
    expect(await operator.policies.replicas()).toEqual([]);
    const connections = await postgres.sql(
      `select count(*)::int from pg_stat_activity where application_name = 'claude-gateway' and datname = $1`,
      [new URL(url).pathname.slice(1)],
    );
    // Three of one, and one of the other.
    expect(connections[0]?.[0]).toBeLessThanOrEqual(4);
    await other.ping();
  });

  it('never shares a connection budget larger than it was given', async () => {
    const url = await postgres.server.createDatabase();
    const store = await postgres.open({ url, maxConnections: 3 });
    await Promise.all(
      Array.from({ length: 30 }, () =>
        Promise.all([
          store.deviceGrants.poll(hash(), NOW),
          store.ledger.sweep(),
          store.limits.list({ limit: 1 }),
        ]),
      ),
    );
    const [row] = await postgres.sql(
      `select count(*)::int from pg_stat_activity where application_name = 'claude-gateway' and datname = $1`,
      [new URL(url).pathname.slice(1)],
    );
    expect(row).toEqual([3]);
  });
});

describe.each(POSTGRES_VERSIONS)('PostgreSQL %i going away', (version) => {
  const postgres = usePostgres(version);

  it.each(['kill', 'pause'] as const)('is answered, and survived (%s)', async (how) => {
    const events: string[] = [];
    const store = await postgres.open({ onEvent: (_, message) => events.push(message) });
    const id = randomUUID();
    await store.sessions.revoke(id, 'test', new Date());
    await store.ping();

    await postgres.server[how]();
    // The first calls may meet connections that are just dying; the second ones find nobody at all.
    for (let round = 0; round < 2; round++) {
      await expectUnavailable(store);
    }
    expect(store.revocations.isRevoked(id)).toBe(true);
    await until(() => !store.revocations.current);

    await postgres.server.restart();
    await until(() =>
      store.ping().then(
        () => true,
        () => false,
      ),
    );
    await Promise.all(calls(store));
    await until(() => store.revocations.current);
    const other = await postgres.open();
    const late = randomUUID();
    await other.sessions.revoke(late, 'test', new Date());
    await until(() => store.revocations.isRevoked(late));
    await until(() => events.includes('revocations are current again'));
  });

  it('is told from a mistake of ours', async () => {
    const store = await postgres.open();
    const error: unknown = await store.deviceGrants
      .deny('not a uuid', NOW)
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(StoreUnavailableError);
  });
});
