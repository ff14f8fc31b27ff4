import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { ConnectionShare, divideConnections } from './connection-share.ts';
import { StoreBusyError, StoreUnavailableError } from './errors.ts';

/** Work that ends when it is told to. */
function blockers() {
  const ends: (() => void)[] = [];
  let running = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    running++;
    most = Math.max(most, running);
    await new Promise<void>((end) => ends.push(end));
    running--;
  };
  return {
    work,
    most: () => most,
    endAll: async () => {
      while (ends.length > 0 || running > 0) {
        ends.shift()?.();
        await new Promise(setImmediate);
      }
    },
  };
}

describe('a share of the connections', () => {
  it('lets no more calls use a connection at once than it has', async () => {
    const share = new ConnectionShare({ name: 'sign-in', maxActive: 2, maxWaiting: 10 });
    const { work, most, endAll } = blockers();
    const calls = Promise.all(Array.from({ length: 12 }, () => share.run(work)));
    await endAll();
    await calls;
    expect(most()).toBe(2);
  });

  it('refuses at once who finds the queue full, and says how many were refused', async () => {
    const shed: [string, number][] = [];
    const share = new ConnectionShare({
      name: 'sign-in',
      maxActive: 1,
      maxWaiting: 2,
      onShed: (name, refused) => shed.push([name, refused]),
    });
    const { work, endAll } = blockers();
    const calls = Array.from({ length: 5 }, () => share.run(work));
    const results = Promise.allSettled(calls);
    await endAll();
    const reasons = (await results).flatMap((result) =>
      result.status === 'rejected' ? [result.reason as unknown] : [],
    );
    expect(reasons).toHaveLength(2);
    for (const reason of reasons) {
      expect(reason).toBeInstanceOf(StoreBusyError);
      // Whoever knows what to answer while PostgreSQL is away knows it here, too.
      expect(reason).toBeInstanceOf(StoreUnavailableError);
    }
    expect(shed).toEqual([['sign-in', 1]]);
  });

  it('lets nobody wait for longer than it says, and forgets who has gone', async () => {
    const share = new ConnectionShare({ name: 'sign-in', maxActive: 1, maxWaiting: 1, maxWaitMs: 50 });
    const { work, endAll } = blockers();
    const first = share.run(work);
    await expect(share.run(work)).rejects.toThrow('no free connection in time');
    const next = share.run(() => Promise.resolve('served'));
    await endAll();
    expect(await next).toBe('served');
    await first;
  });

  it('hands its place on when the work fails', async () => {
    const share = new ConnectionShare({ name: 'sign-in', maxActive: 1, maxWaiting: 1 });
    const failing = share.run(async () => {
      await sleep(5);
      throw new Error('no');
    });
    const next = share.run(() => Promise.resolve('served'));
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('served');
  });
});

describe('how connections are divided', () => {
  it.each([1, 2, 3, 4, 5, 10, 50])('of %i leaves the ledger its own', (max) => {
    const { ledger, common, shares } = divideConnections(max);
    expect(ledger).toBeGreaterThan(0);
    // One more listens.
    expect(1 + ledger + common).toBe(Math.max(max, 3));
    for (const share of Object.values(shares)) {
      expect(share).toBeGreaterThan(0);
      if (common > 1) expect(share).toBeLessThan(common);
    }
  });
});
