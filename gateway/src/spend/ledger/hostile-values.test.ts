import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  clampRecord,
  StoreUnavailableError,
  type BudgetUnit,
  type Heartbeat,
  type InFlightRequest,
  type LedgerStore,
  type UsageRecord,
  type WindowSpec,
} from '@claude-gateway/prisma';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createLog } from '../../observe/log.ts';
import { seededBelow } from '../../testing/random.ts';
import { useStores } from '../../testing/stores.ts';
import type { HoldResult, WindowNeed } from '../types.ts';
import { amountOf } from './amount.ts';
import { ReplicaLedger } from './replica-ledger.ts';

const bed = useStores(1);
const open: ReplicaLedger[] = [];
const lines: string[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((ledger) => ledger.close(2_000)));
  lines.length = 0;
});

/** @param onNoted Told of the requests that PostgreSQL has taken note of. */
async function replica(
  onNoted: (requests: readonly InFlightRequest[]) => void = () => undefined,
): Promise<ReplicaLedger> {
  const { ledger: store } = bed.store;
  const heartbeat = async (beat: Heartbeat): Promise<boolean> => {
    const known = await store.heartbeat(beat);
    onNoted(beat.inFlight);
    return known;
  };
  const ledger = await ReplicaLedger.start({
    store: new Proxy(store, {
      get: (target, key: keyof LedgerStore) => (key === 'heartbeat' ? heartbeat : target[key].bind(target)),
    }),
    name: 'replica',
    policyRevision: () => 1n,
    ttlMs: 6_000,
    isUnavailable: (error) => error instanceof StoreUnavailableError,
    log: createLog('error', { write: (line) => void lines.push(line) }),
  });
  open.push(ledger);
  return ledger;
}

const DAY_MS = 86_400_000;
const TODAY = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const CAP = 1_000_000_000_000n;
const MAX_BIGINT = 2n ** 63n - 1n;

function pool(group: string, unit: BudgetUnit = 'nano_usd'): WindowSpec {
  return {
    id: randomUUID(),
    subject: { kind: 'group_pool', group },
    unit,
    period: 'daily',
    timeZone: 'UTC',
    startsAt: new Date(TODAY),
    endsAt: new Date(TODAY + DAY_MS),
  };
}

const AMOUNTS = [0n, 1n, CAP, CAP + 1n, MAX_BIGINT, MAX_BIGINT + 1n, 2n ** 64n, 10n ** 40n, 30_000_000n];
const COUNTS = [0, 1, -1, 0.5, 1e6, 2 ** 31, 2 ** 53, 1e18, 1e300, Infinity, -Infinity, NaN];
const COSTS = [0n, 1n, -1n, 10n ** 9n, MAX_BIGINT, 2n ** 70n, -(2n ** 70n)];
const TEXTS = [
  'plain',
  '',
  'nul\0inside',
  '\ud800',
  'half \udc00 pair',
  "'; DROP TABLE x; --",
  '"\\u0000"',
  '\u202e',
  'x'.repeat(255),
];

it.each([1, 2, 3])(
  'no amount, count or text makes a statement of the ledger fail (seed %i)',
  async (seed) => {
    const below = seededBelow(seed);
    const pick = <T>(values: readonly T[]): T => values[below(values.length)] as T;
    const ledger = await replica();
    const groups = [randomUUID(), randomUUID()];
    const windows = [
      pool(groups[0]!),
      pool(groups[0]!, 'tokens'),
      pool(groups[1]!, 'tokens_with_cache_reads'),
      pool(groups[1]!),
    ];
    const charged = new Map<string, bigint>(windows.map(({ id }) => [id, 0n]));

    const record = (id: string): UsageRecord => ({
      id,
      requestId: pick(TEXTS),
      sub: `${pick(TEXTS)}-${seed}`,
      kind: 'user',
      email: pick([null, ...TEXTS]),
      name: pick([null, ...TEXTS]),
      groups: [...groups, pick(TEXTS)],
      model: pick(TEXTS),
      upstream: pick([null, ...TEXTS]),
      fastMode: below(2) === 1,
      inputTokens: pick(COUNTS),
      outputTokens: pick(COUNTS),
      cacheReadTokens: pick(COUNTS),
      cacheWrite5mTokens: pick(COUNTS),
      cacheWrite1hTokens: pick(COUNTS),
      webSearches: pick(COUNTS),
      costNanoUsd: pick(COSTS),
      outcome: pick(['complete', 'partial'] as const),
      status: pick([200, 0, -1, 1e12]),
      admittedAt: new Date(),
      firstByteMs: pick([null, ...COUNTS]),
      durationMs: pick(COUNTS),
    });

    const states = new Set<HoldResult['state']>();
    const one = async (): Promise<void> => {
      const id = randomUUID();
      // The caps of some are at the end of what a bigint holds.
      const needs: WindowNeed[] = windows
        .filter(() => below(2) === 1)
        .map((window) => ({ window, cap: pick([CAP, MAX_BIGINT]), amount: pick(AMOUNTS) }));
      const result = await ledger.hold(id, needs);
      states.add(result.state);
      const hold = result.state === 'held' ? result.hold : ledger.admitUnheld(id, needs);
      const used = record(id);
      ledger.note(hold, () => ({ ...used, outcome: 'abandoned' }));
      if (below(4) === 0) {
        ledger.release(hold);
        return;
      }
      for (const window of windows) {
        charged.set(window.id, (charged.get(window.id) ?? 0n) + amountOf(clampRecord(used), window.unit));
      }
      ledger.settle(
        hold,
        used,
        windows.map((window) => window.id),
      );
    };
    await bed.store.ledger.openWindows(windows);
    for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 10 }, one));
    expect(await ledger.close(10_000)).toBe(0);

    expect([...states].filter((state) => state === 'failed' || state === 'unavailable')).toEqual([]);
    expect(lines).toEqual([]);
    for (const { windowId, spent, held } of await bed.store.ledger.windows(windows.map(({ id }) => id))) {
      expect({ windowId, spent, held }).toEqual({ windowId, spent: charged.get(windowId), held: 0n });
    }
  },
  60_000,
);

describe('where PostgreSQL answers with an error', () => {
  const broken = (): WindowSpec => ({ ...pool(randomUUID()), period: 'fortnightly' as 'daily' });
  const need = (window: WindowSpec, amount = 1_000n): WindowNeed => ({ window, cap: CAP, amount });

  it('refuses the one request that it is about, and holds the others of its batch', async () => {
    const ledger = await replica();
    const bad = broken();
    const good = Array.from({ length: 40 }, () => pool(randomUUID()));
    const results = await Promise.all([
      ...good.slice(0, 20).map((window) => ledger.hold(randomUUID(), [need(window)])),
      ledger.hold(randomUUID(), [need(bad)]),
      ...good.slice(20).map((window) => ledger.hold(randomUUID(), [need(window)])),
    ]);
    const states = results.map(({ state }) => state);
    expect(states.filter((state) => state === 'held')).toHaveLength(40);
    expect(states[20]).toBe('failed');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('cannot lease from this budget');
    expect(lines[0]).toContain(bad.id);
  });

  it('does not take it for an outage: what follows does not wait', async () => {
    const ledger = await replica();
    const bad = broken();
    for (let i = 0; i < 3; i++) {
      expect(await ledger.hold(randomUUID(), [need(bad)])).toEqual({ state: 'failed' });
      expect(await ledger.hold(randomUUID(), [need(pool(randomUUID()))])).toMatchObject({ state: 'held' });
    }
  });

  it('takes the heartbeat without the request that cannot be noted', async () => {
    const noted: string[] = [];
    const ledger = await replica((requests) => void noted.push(...requests.map(({ record }) => record.id)));
    const window = pool(randomUUID());
    const ids = ['no uuid', randomUUID()];
    for (const id of ids) {
      const result = await ledger.hold(id, [need(window)]);
      if (result.state !== 'held') throw new Error(result.state);
      ledger.note(result.hold, () => ({
        ...{ id, requestId: id, sub: 'u', kind: 'user', email: null, name: null, groups: [] },
        ...{
          model: 'm',
          upstream: null,
          fastMode: false,
          inputTokens: 0,
          outputTokens: 0,
          cacheReadTokens: 0,
        },
        ...{ cacheWrite5mTokens: 0, cacheWrite1hTokens: 0, webSearches: 0, costNanoUsd: 7n },
        ...{ outcome: 'abandoned', status: 0, admittedAt: new Date(), firstByteMs: null, durationMs: 0 },
      }));
    }
    const deadline = Date.now() + 15_000;
    while (noted.length === 0 && Date.now() < deadline) await sleep(50);
    expect(noted).toEqual([ids[1]]);
    expect(lines.filter((line) => line.includes('cannot note this request'))).toHaveLength(1);
  }, 30_000);
});

it('a need above the cap is short without asking PostgreSQL', async () => {
  const ledger = await replica();
  const window = pool(randomUUID());
  const result = ledger.hold(randomUUID(), [{ window, cap: 10n, amount: 11n }]);
  // Not a promise: nobody was asked.
  expect(result).toEqual({ state: 'short', shortages: [{ window, available: 10n, spent: 0n }] });
});
