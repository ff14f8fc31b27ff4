import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { WorkQueue, type ReconcileResult } from './work-queue.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

/** Reconciles that the test ends by hand. */
function manual() {
  const calls: { key: string; end: (result?: ReconcileResult) => void; fail: (error: Error) => void }[] = [];
  const reconcile = (key: string) =>
    new Promise<ReconcileResult | void>((end, fail) => calls.push({ key, end, fail }));
  return { calls, reconcile, keys: () => calls.map(({ key }) => key) };
}

const settle = () => jest.advanceTimersByTimeAsync(0);

describe('WorkQueue', () => {
  it('works on a key once, however often it was added while it waited', async () => {
    const { calls, keys, reconcile } = manual();
    const queue = new WorkQueue(reconcile, { concurrency: 1 });
    queue.add('busy');
    for (let i = 0; i < 5; i++) queue.add('a');
    calls[0]?.end();
    await settle();
    expect(keys()).toEqual(['busy', 'a']);
  });

  it('works on it once more when it was added meanwhile, and never twice at a time', async () => {
    const { calls, keys, reconcile } = manual();
    const queue = new WorkQueue(reconcile);
    queue.add('a');
    queue.add('a');
    queue.add('a');
    await settle();
    expect(keys()).toEqual(['a']);
    calls[0]?.end();
    await settle();
    expect(keys()).toEqual(['a', 'a']);
    calls[1]?.end();
    await settle();
    expect(keys()).toHaveLength(2);
    expect(queue.size).toBe(0);
  });

  it('keeps to its concurrency and to the order of arrival', async () => {
    const { calls, keys, reconcile } = manual();
    const queue = new WorkQueue(reconcile, { concurrency: 2 });
    for (const key of ['a', 'b', 'c', 'd']) queue.add(key);
    expect(keys()).toEqual(['a', 'b']);
    calls[1]?.end();
    await settle();
    expect(keys()).toEqual(['a', 'b', 'c']);
  });

  it('waits longer after each failure in a row, up to a limit, and starts over after a success', async () => {
    const delays: number[] = [];
    let broken = true;
    const queue = new WorkQueue(
      async () => {
        if (broken) throw new Error('no');
      },
      {
        baseDelay: 100,
        maxDelay: 1000,
        random: () => 0,
        onError: (_key, _error, _failures, retryIn) => delays.push(retryIn),
      },
    );
    queue.add('a');
    await jest.advanceTimersByTimeAsync(3400);
    expect(delays).toEqual([100, 200, 400, 800, 1000, 1000]);
    broken = false;
    await jest.advanceTimersByTimeAsync(1000);
    broken = true;
    queue.add('a');
    await settle();
    expect(delays.at(-1)).toBe(100);
    await queue.stop();
  });

  it('a failing key holds no other key up', async () => {
    const done: string[] = [];
    const queue = new WorkQueue(
      async (key) => {
        if (key === 'bad') throw new Error('no');
        done.push(key);
      },
      { concurrency: 1 },
    );
    for (const key of ['bad', 'a', 'b']) queue.add(key);
    await settle();
    expect(done).toEqual(['a', 'b']);
    await queue.stop();
  });

  it('a change during back-off is worked on at once, and the back-off does not come on top', async () => {
    let attempts = 0;
    const queue = new WorkQueue(
      async () => {
        if (attempts++ === 0) throw new Error('no');
      },
      { baseDelay: 60_000 },
    );
    queue.add('a');
    await settle();
    queue.add('a');
    await settle();
    expect(attempts).toBe(2);
    await jest.advanceTimersByTimeAsync(120_000);
    expect(attempts).toBe(2);
  });

  it('comes back after requeueAfter; of two delays the earlier counts', async () => {
    const at: number[] = [];
    const start = Date.now();
    const queue = new WorkQueue(async () => {
      at.push(Date.now() - start);
      return at.length === 1 ? { requeueAfter: 5000 } : undefined;
    });
    queue.add('a');
    await settle();
    queue.addAfter('a', 9000);
    queue.addAfter('a', 2000);
    await jest.advanceTimersByTimeAsync(20_000);
    expect(at).toEqual([0, 2000]);
  });

  it('stops when the work under way has ended, and takes nothing up after that', async () => {
    const { calls, keys, reconcile } = manual();
    const queue = new WorkQueue(reconcile, { concurrency: 1 });
    queue.add('a');
    queue.add('b');
    queue.addAfter('c', 100);
    let stopped = false;
    const stopping = queue.stop().then(() => (stopped = true));
    await settle();
    expect(stopped).toBe(false);
    calls[0]?.end({ requeueAfter: 10 });
    await stopping;
    queue.add('d');
    await jest.advanceTimersByTimeAsync(1000);
    expect(keys()).toEqual(['a']);
  });

  it('forgets an object that is gone', async () => {
    const failures: number[] = [];
    const queue = new WorkQueue(
      async () => {
        throw new Error('no');
      },
      { baseDelay: 100, random: () => 0, onError: (_key, _error, count) => failures.push(count) },
    );
    queue.add('a');
    await settle();
    queue.forget('a');
    await jest.advanceTimersByTimeAsync(1000);
    expect(failures).toEqual([1]);
    queue.add('a');
    await settle();
    expect(failures).toEqual([1, 1]);
    await queue.stop();
  });
});
