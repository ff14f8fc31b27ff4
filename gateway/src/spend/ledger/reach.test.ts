import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres, type RunningPostgres } from '@claude-gateway/dev';
import { openStore, StoreUnavailableError, type Store, type WindowSpec } from '@claude-gateway/prisma';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLog } from '../../observe/log.ts';
import type { HoldResult, WindowNeed } from '../types.ts';
import { ReplicaLedger } from './replica-ledger.ts';

/** How many ask one after the other: so many waits, however short, would be longer than the first one's. */
const LATER = 200;

describe('PostgreSQL that is stopped', () => {
  let postgres: RunningPostgres;
  let store: Store;
  let ledger: ReplicaLedger;
  const logged: string[] = [];
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres.stop());
  beforeEach(async () => {
    store = await openStore({
      url: await postgres.createDatabase(),
      maxConnections: 5,
      connectTimeoutSeconds: 10,
      revocationTtlSeconds: 3600,
    });
  });
  afterEach(async () => {
    postgres.thaw();
    logged.length = 0;
    await ledger.close(5_000);
    await store.close();
  });

  async function start(ttlMs: number): Promise<void> {
    ledger = await ReplicaLedger.start({
      store: store.ledger,
      name: 'replica',
      policyRevision: () => 1n,
      isUnavailable: (error) => error instanceof StoreUnavailableError,
      log: createLog('info', { write: (line) => void logged.push(line) }),
      ttlMs,
    });
  }

  async function timed(): Promise<{ ms: number; state: HoldResult['state'] }> {
    const at = performance.now();
    const result = await ledger.hold(randomUUID(), [needOfSomebody()]);
    return { ms: performance.now() - at, state: result.state };
  }

  async function untilHeld(): Promise<void> {
    while ((await timed()).state !== 'held') await sleep(50);
  }

  it.each([
    ['while leases are good', 60_000],
    ['when this replica may have been written off', 1_500],
  ])(
    'makes nobody wait once it is known to be away, %s',
    async (_, ttlMs) => {
      await start(ttlMs);
      await untilHeld();
      postgres.freeze();
      const together = Array.from({ length: 20 }, timed);
      const first = await timed();
      expect([first, ...(await Promise.all(together))].map(({ state }) => state)).toEqual(
        Array.from({ length: 21 }, () => 'unavailable'),
      );
      let later = 0;
      for (let i = 0; i < LATER; i++) {
        const { ms, state } = await timed();
        expect(state).toBe('unavailable');
        later += ms;
      }
      expect(later).toBeLessThan(first.ms);
      postgres.thaw();
      await untilHeld();
      expect(logged.filter((line) => line.includes('requests do not wait for it'))).toHaveLength(1);
    },
    60_000,
  );

  it('is known to be away without anybody who waits', async () => {
    await start(3_000);
    postgres.freeze();
    while (!logged.some((line) => line.includes('requests do not wait for it'))) await sleep(50);
    expect(ledger.waiting).toBe(0);
    expect((await timed()).state).toBe('unavailable');
    postgres.thaw();
    await untilHeld();
    expect(logged.some((line) => line.includes('PostgreSQL is heard again'))).toBe(true);
  }, 60_000);
});

function needOfSomebody(): WindowNeed {
  const startsAt = new Date();
  startsAt.setUTCHours(0, 0, 0, 0);
  const window: WindowSpec = {
    id: randomUUID(),
    subject: { kind: 'user', sub: randomUUID() },
    unit: 'nano_usd',
    period: 'daily',
    timeZone: 'UTC',
    startsAt,
    endsAt: new Date(startsAt.getTime() + 86_400_000),
  };
  return { window, cap: 1_000n, amount: 10n };
}
