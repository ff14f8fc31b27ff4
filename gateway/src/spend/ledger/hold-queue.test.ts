import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError, type UsageRecord, type WindowSpec } from '@claude-gateway/prisma';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createLog } from '../../observe/log.ts';
import { seededRandom } from '../../testing/random.ts';
import { useStores } from '../../testing/stores.ts';
import { NO_USAGE } from '../no-usage.ts';
import type { Hold, Patience, WaitResult, WindowNeed } from '../types.ts';
import { ReplicaLedger } from './replica-ledger.ts';

const bed = useStores(2);
const open: ReplicaLedger[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((ledger) => ledger.close(2_000)));
});

async function replica(index = 0): Promise<ReplicaLedger> {
  const ledger = await ReplicaLedger.start({
    store: (bed.stores[index] ?? bed.store).ledger,
    name: `replica-${index}`,
    policyRevision: () => 1n,
    quietMs: 1_500,
    isUnavailable: (error) => error instanceof StoreUnavailableError,
    log: createLog('fatal', { write: () => undefined }),
  });
  open.push(ledger);
  return ledger;
}

const DAY_MS = 86_400_000;
const TODAY = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const CAP = 1_000n;

function pool(): WindowSpec {
  return {
    id: randomUUID(),
    subject: { kind: 'group_pool', group: randomUUID() },
    unit: 'nano_usd',
    period: 'daily',
    timeZone: 'UTC',
    startsAt: new Date(TODAY),
    endsAt: new Date(TODAY + DAY_MS),
  };
}

const need = (window: WindowSpec, amount: bigint): WindowNeed => ({ window, cap: CAP, amount });

function patience(forMs: number, rest: Partial<Patience> = {}): Patience {
  return { forMs, person: 'alice', isCurrent: () => true, onGone: () => undefined, ...rest };
}

async function held(ledger: ReplicaLedger, ...needs: WindowNeed[]): Promise<Hold> {
  const result = await ledger.hold(randomUUID(), needs);
  if (result.state !== 'held') throw new Error(`expected a hold, got ${result.state}`);
  return result.hold;
}

function settle(ledger: ReplicaLedger, hold: Hold, cost: bigint): void {
  const groups = hold.needs.flatMap(({ window: { subject } }) =>
    subject.kind === 'group_pool' ? [subject.group] : [],
  );
  const record: UsageRecord = {
    ...NO_USAGE,
    ...{ id: hold.id, requestId: `req_${hold.id}`, sub: 'u1', kind: 'user', email: null, name: null, groups },
    ...{ model: 'claude-opus-4-8', upstream: 'anthropic', fastMode: false, costNanoUsd: cost },
    ...{ outcome: 'complete', status: 200, admittedAt: new Date(), firstByteMs: 1, durationMs: 2 },
  };
  ledger.settle(hold, record);
}

describe('who waits for what others hold', () => {
  it('is served when they are settled, and not before', async () => {
    const ledger = await replica();
    const window = pool();
    const first = await held(ledger, need(window, 800n));
    let served = false;
    const waiting = ledger.wait(randomUUID(), [[need(window, 300n)]], patience(20_000));
    void waiting.then(() => (served = true));
    await sleep(700);
    expect(served).toBe(false);
    settle(ledger, first, 100n);
    expect(await waiting).toMatchObject({ state: 'held', choice: 0 });
    expect(ledger.waiting).toBe(0);
  });

  it('gets the dearest that fits while nobody else waits, and the least otherwise', async () => {
    const ledger = await replica();
    const window = pool();
    const choices: [WindowNeed[], WindowNeed[]] = [[need(window, 900n)], [need(window, 100n)]];
    const wait = () => ledger.wait(randomUUID(), choices, patience(20_000));
    const first = await held(ledger, need(window, 1_000n));
    const alone = wait();
    ledger.release(first);
    const big = await alone;
    expect(big).toMatchObject({ state: 'held', choice: 0 });
    if (big.state !== 'held') return;
    const rest = await held(ledger, need(window, 100n));
    const both = [wait(), wait()];
    ledger.release(big.hold);
    expect(await Promise.all(both)).toMatchObject([
      { state: 'held', choice: 1 },
      { state: 'held', choice: 1 },
    ]);
    ledger.release(rest);
  });

  it('is told at once when what was spent leaves no room any more', async () => {
    const ledger = await replica();
    const window = pool();
    const first = await held(ledger, need(window, 800n));
    const waiting = ledger.wait(randomUUID(), [[need(window, 300n)]], patience(20_000));
    settle(ledger, first, 750n);
    expect(await waiting).toMatchObject({ state: 'short', shortages: [{ spent: 750n }] });
  });

  it('gives up when its patience ends, and says what is held', async () => {
    const ledger = await replica();
    const window = pool();
    await held(ledger, need(window, 800n));
    expect(await ledger.wait(randomUUID(), [[need(window, 300n)]], patience(300))).toMatchObject({
      state: 'busy',
      cause: 'timeout',
      shortages: [{ available: 200n, spent: 0n }],
    });
    expect(await ledger.wait(randomUUID(), [[need(window, 300n)]], patience(0))).toMatchObject({
      state: 'busy',
      cause: 'timeout',
    });
  });

  it('leaves the queue when nobody wants the answer any more', async () => {
    const ledger = await replica();
    const window = pool();
    const first = await held(ledger, need(window, 800n));
    let leave = (): void => undefined;
    const onGone = (listener: () => void): void => void (leave = listener);
    const waiting = ledger.wait(randomUUID(), [[need(window, 300n)]], patience(20_000, { onGone }));
    leave();
    expect(await waiting).toMatchObject({ state: 'busy', cause: 'gone' });
    ledger.release(first);
    // Nothing is held for it.
    expect(await ledger.hold(randomUUID(), [need(window, CAP)])).toMatchObject({ state: 'held' });
  });

  it('asks again when the limits have changed', async () => {
    const ledger = await replica();
    const window = pool();
    await held(ledger, need(window, 800n));
    let current = true;
    const waiting = ledger.wait(
      randomUUID(),
      [[need(window, 300n)]],
      patience(20_000, { isCurrent: () => current }),
    );
    current = false;
    expect(await waiting).toEqual({ state: 'changed' });
  });

  it('finds no place where one person has 32, or a window 256', async () => {
    const ledger = await replica();
    const window = pool();
    const first = await held(ledger, need(window, CAP));
    const wait = (person: string) =>
      ledger.wait(randomUUID(), [[need(window, 1n)]], patience(20_000, { person }));
    const waiting: Promise<WaitResult>[] = [];
    for (let i = 0; i < 256; i++) waiting.push(wait(`person-${Math.floor(i / 32)}`));
    expect(ledger.waiting).toBe(256);
    expect(await wait('somebody else')).toMatchObject({ state: 'busy', cause: 'full' });
    const other = pool();
    await held(ledger, need(other, CAP));
    expect(
      await ledger.wait(randomUUID(), [[need(other, 1n)]], patience(20_000, { person: 'person-0' })),
    ).toMatchObject({ state: 'busy', cause: 'full' });
    ledger.release(first);
    for (const result of await Promise.all(waiting)) expect(result.state).toBe('held');
  });

  it('is served by what another replica gives back', async () => {
    const [one, two] = [await replica(0), await replica(1)];
    const window = pool();
    const first = await held(one, need(window, 800n));
    // It does not know of the window yet.
    expect(await two.hold(randomUUID(), [need(window, 300n)])).toMatchObject({ state: 'short' });
    const waiting = two.wait(randomUUID(), [[need(window, 300n)]], patience(20_000));
    await sleep(1_000);
    settle(one, first, 100n);
    expect(await waiting).toMatchObject({ state: 'held' });
  });

  it('does not lock up over several windows, at two replicas', async () => {
    const ledgers = [await replica(0), await replica(1)];
    const windows = [pool(), pool()] as const;
    const all = Array.from({ length: 12 }, async (_, i) => {
      const ledger = ledgers[i % 2] as ReplicaLedger;
      const order = i % 4 < 2 ? windows : windows.toReversed();
      const needs = order.map((window) => need(window, 600n));
      const now = await ledger.hold(randomUUID(), needs);
      const result = now.state === 'held' ? now : await ledger.wait(randomUUID(), [needs], patience(20_000));
      if (result.state !== 'held') return result.state;
      await sleep(50);
      ledger.release(result.hold);
      return result.state;
    });
    expect(await Promise.all(all)).toEqual(Array.from({ length: 12 }, () => 'held'));
  }, 40_000);
});

it.each([1, 2, 3])(
  'a large request is not starved by small ones, nor they by large ones (seed %i)',
  async (seed) => {
    const random = seededRandom(seed);
    const ledger = await replica();
    const window = pool();
    const forMs = 4_000;
    let running = true;
    let smallOnes = 0;
    const outcomes = { small: new Map<string, number>(), large: new Map<string, number>() };
    const ask = async (size: 'small' | 'large', amount: bigint, ms: number): Promise<void> => {
      const needs = [need(window, amount)];
      const now = await ledger.hold(randomUUID(), needs);
      const person = `${size}-${Math.floor(smallOnes / 10)}`;
      const result =
        now.state === 'held' ? now : await ledger.wait(randomUUID(), [needs], patience(forMs, { person }));
      outcomes[size].set(result.state, (outcomes[size].get(result.state) ?? 0) + 1);
      if (result.state !== 'held') return;
      await sleep(ms);
      ledger.release(result.hold);
    };
    // So many small ones that the window is never free for a large one by itself.
    const small = Array.from({ length: 30 }, async () => {
      while (running) {
        smallOnes++;
        await ask('small', 60n + BigInt(Math.floor(random() * 60)), 50 + random() * 100);
      }
    });
    const large = Array.from({ length: 2 }, async () => {
      for (let i = 0; i < 2; i++) await ask('large', 950n, 100);
    });
    await Promise.all(large);
    running = false;
    await Promise.all(small);
    expect(outcomes.large).toEqual(new Map([['held', 4]]));
    expect([...outcomes.small.keys()]).toEqual(['held']);
    expect(outcomes.small.get('held')).toBeGreaterThan(100);
  },
  40_000,
);
