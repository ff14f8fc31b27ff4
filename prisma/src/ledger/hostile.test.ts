import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { newReplica, newUsage, newWindow } from '../testing/ledger.ts';
import { Hostile } from '../testing/hostile.ts';
import { at, hash, newGrant, NOW, POSTGRES_VERSIONS, usePostgres } from '../testing/postgres.ts';
import { clampRecord, MAX_SPENT } from './amounts.ts';
import type { BudgetSubject, UsageRecord, WindowSpec } from './types.ts';

const SEEDS = [1, 2, 3, 4];
const ROUNDS = 12;

describe.each(POSTGRES_VERSIONS)('whatever comes, on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  it.each(SEEDS)('no statement of the ledger fails, and every record is kept (seed %i)', async (seed) => {
    const store = await postgres.open();
    const hostile = new Hostile(seed);
    const replicaId = await newReplica(store.ledger);
    const kept = new Map<string, UsageRecord>();
    const windows: WindowSpec[] = [];

    for (let round = 0; round < ROUNDS; round++) {
      const opened = Array.from({ length: 3 }, () => newWindow(subjectOf(hostile), { unit: hostile.unit() }));
      windows.push(...opened);
      expect(await store.ledger.openWindows(opened)).toHaveLength(3);

      const leased = await store.ledger.lease(
        replicaId,
        opened.map(({ id }) => ({
          windowId: id,
          cap: hostile.amount(),
          need: hostile.amount(),
          extra: hostile.amount(),
        })),
      );
      expect(leased).toHaveLength(3);

      const records = Array.from({ length: 5 }, () => hostile.record());
      const noted = records.slice(0, 3);
      await store.ledger.heartbeat({
        replicaId,
        name: 'pod',
        policyRevision: 1n,
        ttlMs: 60_000,
        inFlight: noted.map((record) => ({
          record: { ...record, outcome: 'abandoned' },
          windowIds: opened.map(({ id }) => id),
        })),
      });
      await store.ledger.settle(replicaId, {
        settlements: records.map((record) => ({ record, windowIds: opened.map(({ id }) => id) })),
        returns: opened.map(({ id }) => ({ windowId: id, amount: hostile.amount() })),
      });
      for (const record of records) kept.set(record.id, record);
    }

    for (const [id, record] of kept) {
      const { inputTokens, webSearches, costNanoUsd, durationMs } = clampRecord(record);
      const [row] = await postgres.sql(
        `SELECT input_tokens::float8, web_searches, cost_nano_usd, duration_ms FROM claude_gateway.usage_records WHERE id = $1`,
        [id],
      );
      expect(row).toEqual([inputTokens, webSearches, String(costNanoUsd), durationMs]);
    }
    const states = await store.ledger.windows(windows.map(({ id }) => id));
    expect(states).toHaveLength(windows.length);
    for (const { spent, held } of states) {
      expect(spent >= 0n && spent <= MAX_SPENT).toBe(true);
      expect(held >= 0n).toBe(true);
    }
    expect(await store.usage.rollUp()).toBe(true);
  });

  it('a dead replica is written off whatever it noted, and what it noted is corrected', async () => {
    const store = await postgres.open();
    const hostile = new Hostile(7);
    const window = newWindow({ kind: 'organization_pool' }, { namedOnly: true });
    await store.ledger.openWindows([window]);
    const dead = await newReplica(store.ledger, 1);
    const records = Array.from({ length: 20 }, () => hostile.record());
    const settlements = records.map((record) => ({ record, windowIds: [window.id] }));
    await store.ledger.heartbeat({
      replicaId: dead,
      name: hostile.text(),
      version: hostile.text(),
      policyRevision: 1n,
      ttlMs: 1,
      inFlight: settlements.map(({ record, windowIds }) => ({
        record: { ...record, outcome: 'abandoned' as const },
        windowIds,
      })),
    });
    const swept = await store.ledger.sweep();
    expect(swept.find(({ replicaId }) => replicaId === dead)).toMatchObject({ abandoned: 20 });
    const corrected = records.map((record) => ({ ...record, costNanoUsd: hostile.amount() }));
    await store.ledger.settle(dead, {
      settlements: corrected.map((record) => ({ record, windowIds: [window.id] })),
      returns: [],
    });
    const [[spent]] = (await postgres.sql('SELECT spent FROM claude_gateway.budget_windows WHERE id = $1', [
      window.id,
    ])) as [[string]];
    const expected = corrected.reduce((sum, record) => sum + clampRecord(record).costNanoUsd, 0n);
    expect(BigInt(spent)).toBe(expected < MAX_SPENT ? expected : MAX_SPENT);
  });

  it('a window stops counting at its end, and is used up', async () => {
    const store = await postgres.open();
    const replicaId = await newReplica(store.ledger);
    const window = newWindow({ kind: 'user', sub: randomUUID() });
    await store.ledger.openWindows([window]);
    for (let batch = 0; batch < 2; batch++) {
      await store.ledger.settle(replicaId, {
        settlements: Array.from({ length: 400 }, () => ({
          record: newUsage({ costNanoUsd: 10n ** 30n }),
          windowIds: [window.id],
        })),
        returns: [],
      });
    }
    const [state] = await store.ledger.windows([window.id]);
    expect(state?.spent).toBe(MAX_SPENT);
    const ask = { windowId: window.id, cap: 2n ** 63n - 1n, need: 1n, extra: 2n ** 63n };
    expect(await store.ledger.lease(replicaId, [ask])).toMatchObject([{ granted: 0n }]);
  });

  it.each(SEEDS)('neither do those of everything around it (seed %i)', async (seed) => {
    const store = await postgres.open();
    const hostile = new Hostile(seed + 100);
    for (let round = 0; round < ROUNDS; round++) {
      const identity = {
        sub: hostile.text(),
        provider: 'https://idp.example',
        email: hostile.text(),
        name: hostile.text(),
        groups: hostile.texts(),
      };
      const session = {
        id: randomUUID(),
        identity,
        refreshTokenHash: hash(),
        idpRefreshTokenSealed: null,
        now: NOW,
      };
      await store.sessions.create(session);
      expect((await store.sessions.list({ sub: identity.sub, limit: 100 })).map(({ id }) => id)).toContain(
        session.id,
      );
      expect(await store.sessions.revokeByUser({ email: identity.email }, 'test', NOW)).toContain(session.id);

      const grant = newGrant({ surface: hostile.text(), clientAddress: hostile.text() });
      await store.deviceGrants.create(grant);
      const found = await store.deviceGrants.findByUserCode(grant.userCodeHash, NOW);
      expect(await store.deviceGrants.approve(found?.id ?? '', identity, null, NOW)).toBe(true);

      await store.rateLimits.hit(hostile.text(), { max: 10, windowSeconds: 60 }, NOW);
      await store.usage.touch(
        Array.from({ length: 3 }, () => ({
          ...identity,
          sub: hostile.text(),
          kind: 'user' as const,
          seenAt: at(round),
        })),
      );
      await store.settingsClients.record([
        { client: hostile.text(), principal: hostile.text(), documents: [], at: NOW },
      ]);
      const alert = {
        windowId: randomUUID(),
        threshold: 75,
        data: { subject: { sub: hostile.text() }, [hostile.text()]: hostile.text() },
        deliver: false,
      };
      expect(await store.alerts.raise([alert])).toHaveLength(1);
      const forged = hostile.pick(['', '-1', '1e9', '9'.repeat(30), hostile.text()]);
      expect((await store.limits.changes({ limit: 1, before: forged })).changes).toEqual([]);
      expect((await store.increaseRequests.list({ limit: 1, after: forged })).requests).toEqual([]);
    }
  });
});

function subjectOf(hostile: Hostile): BudgetSubject {
  return hostile.pick<BudgetSubject>([
    { kind: 'user', sub: hostile.text() },
    { kind: 'group_pool', group: hostile.text() },
    { kind: 'organization_pool' },
  ]);
}
