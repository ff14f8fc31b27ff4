import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { AbandonedReads, type AbandonedLimits } from './abandoned-reads.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** Answers that are kept, and the names of those that were given up. */
function reads(limits: AbandonedLimits = {}) {
  const all = new AbandonedReads(limits);
  const givenUp: string[] = [];
  const keep = (name: string, sub = name, requestBytes = 1, withinMs = 1000) => {
    const over = all.keep({
      sub,
      requestBytes,
      withinMs,
      giveUp: () => {
        givenUp.push(name);
        over?.();
      },
    });
    return over;
  };
  return { all, keep, givenUp };
}

describe('abandoned answers', () => {
  it('are read on for their time, and given up once', () => {
    const { all, keep, givenUp } = reads();
    const over = keep('a');
    keep('b');
    over?.();
    over?.();
    expect(all.size).toBe(1);
    jest.advanceTimersByTime(2000);
    expect(givenUp).toEqual(['b']);
    expect(all.size).toBe(0);
  });

  it('are not read on where that is not wanted', () => {
    expect(reads().keep('a', 'a', 1, 0)).toBeUndefined();
  });

  it('are limited in all, for each person, and by what they keep in memory', () => {
    const many = reads({ maxReads: 2 });
    const first = many.keep('a');
    expect([many.keep('b'), many.keep('c')].map((kept) => kept !== undefined)).toEqual([true, false]);
    first?.();
    expect(many.keep('c')).toBeDefined();

    const own = reads({ maxReadsPerPerson: 1 });
    const mine = own.keep('a', 'me');
    expect(own.keep('b', 'me')).toBeUndefined();
    expect(own.keep('c', 'you')).toBeDefined();
    mine?.();
    expect(own.keep('d', 'me')).toBeDefined();

    const large = reads({ maxRequestBytes: 100 });
    const half = large.keep('a', 'a', 60);
    expect(large.keep('b', 'b', 60)).toBeUndefined();
    half?.();
    expect(large.keep('b', 'b', 60)).toBeDefined();
  });
});

describe('the end of the process', () => {
  it('waits for them as long as it may, and takes no more', async () => {
    const { all, keep, givenUp } = reads();
    keep('short', 'a', 1, 100);
    const over = keep('ends', 'b', 1, 60_000);
    keep('long', 'c', 1, 60_000);
    const closed = all.close(500);
    await jest.advanceTimersByTimeAsync(200);
    over?.();
    expect(givenUp).toEqual(['short']);
    await jest.advanceTimersByTimeAsync(300);
    await closed;
    expect(givenUp).toEqual(['short', 'long']);
    expect(keep('late')).toBeUndefined();
  });

  it('waits no longer than for the last of them, and not at all without', async () => {
    const { all, keep } = reads();
    const over = keep('a');
    const closed = all.close(60_000);
    over?.();
    await closed;
    await reads().all.close(60_000);
  });

  it('gives them up at once when no time is left', async () => {
    const { all, keep, givenUp } = reads();
    keep('a');
    await all.close(-5);
    expect(givenUp).toEqual(['a']);
  });
});
