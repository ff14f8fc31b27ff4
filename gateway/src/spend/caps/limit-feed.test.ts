import { afterEach, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LimitSet, LimitStore, SpendLimit, Store } from '@claude-gateway/prisma';
import { createAudit } from '../../observe/audit.ts';
import { createLog } from '../../observe/log.ts';
import { useStores } from '../../testing/stores.ts';
import { compileCaps } from './compile.ts';
import { startLimitFeed, type LimitFeed } from './limit-feed.ts';
import { limit, ORGANIZATION } from './testing/limits.ts';

const ADA = { sub: 'ada', groups: [] };

/** Limits as the store gives them, with a switch that turns it off. */
class Limits {
  revisionNow = 0n;
  rows: readonly SpendLimit[] = [];
  away = false;
  reads = 0;
  looks = 0;
  #listeners = new Set<() => void>();

  set(rows: readonly SpendLimit[]): void {
    this.rows = rows;
    this.revisionNow++;
  }

  tell(): void {
    for (const listener of this.#listeners) listener();
  }

  get listening(): number {
    return this.#listeners.size;
  }

  async readAll(): Promise<LimitSet> {
    this.reads++;
    await sleep(1);
    if (this.away) throw new Error('store unavailable');
    return { revision: this.revisionNow, limits: this.rows };
  }

  async revision(): Promise<bigint> {
    this.looks++;
    await sleep(1);
    if (this.away) throw new Error('store unavailable');
    return this.revisionNow;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

const feeds: LimitFeed[] = [];
afterEach(async () => {
  await Promise.all(feeds.splice(0).map((feed) => feed.close()));
});

const NEVER_MS = 1_000_000;

async function start(
  limits: Pick<LimitStore, 'readAll' | 'revision' | 'onChange'>,
  pollMs: number,
): Promise<{ feed: LimitFeed; lines: string[] }> {
  const lines: string[] = [];
  const stream = { write: (line: string) => void lines.push(line) };
  const feed = await startLimitFeed({
    limits,
    compile: (set) => compileCaps(set, { groupLimitMode: 'min' }),
    log: createLog('info', stream),
    audit: createAudit(stream),
    pollMs,
    outdatedAfterMs: 50,
  });
  feeds.push(feed);
  return { feed, lines };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition() && performance.now() < deadline) await sleep(5);
  expect(condition()).toBe(true);
}

const amountOf = (feed: LimitFeed): bigint | undefined => feed.current.resolve(ADA, 0)[0]?.amount;
const WRONG = limit(ORGANIZATION, 9n, { timeZone: 'Mars/Olympus' });

describe('LimitFeed on PostgreSQL', () => {
  const context = useStores(2);

  it('has what another replica wrote, long before it would look', async () => {
    const [other, own] = context.stores as [Store, Store];
    const { feed } = await start(own.limits, NEVER_MS);
    // Listening begins some moments after the store is open; what is written from then on is heard.
    await sleep(300);
    const content = limit(ORGANIZATION, 3n);
    await other.limits.put(content, { actor: 'test', reason: null, now: new Date() });
    await until(() => amountOf(feed) === 3n);
    expect(feed.current.revision).toBe(await other.limits.revision());
  });
});

describe('LimitFeed', () => {
  it('has what was written before somebody asks it to catch up, also when it is at it already', async () => {
    const limits = new Limits();
    const { feed } = await start(limits, NEVER_MS);
    for (let amount = 1n; amount <= 20n; amount++) {
      if (amount % 2n === 0n) limits.tell();
      if (amount % 3n === 0n) await sleep(1);
      limits.set([limit(ORGANIZATION, amount)]);
      await feed.catchUp();
      expect(amountOf(feed)).toBe(amount);
    }
  });

  it('lets nobody wait for ever, when it cannot read or is closed', async () => {
    const limits = new Limits();
    const { feed } = await start(limits, 20);
    limits.away = true;
    await feed.catchUp();
    const waiting = feed.catchUp();
    await feed.close();
    await waiting;
    await feed.catchUp();
  });

  it('has the limits from the start, and new ones as soon as it is told', async () => {
    const limits = new Limits();
    limits.set([limit(ORGANIZATION, 1n)]);
    const { feed, lines } = await start(limits, NEVER_MS);
    expect(amountOf(feed)).toBe(1n);
    const swaps: bigint[] = [];
    const stop = feed.onSwap(({ revision }) => swaps.push(revision));
    limits.set([limit(ORGANIZATION, 2n)]);
    limits.tell();
    await until(() => amountOf(feed) === 2n);
    expect(feed.current.revision).toBe(2n);
    expect(swaps).toEqual([2n]);
    stop();
    limits.set([]);
    limits.tell();
    await until(() => amountOf(feed) === undefined);
    expect(swaps).toEqual([2n]);
    expect(lines.filter((line) => line.includes('"policy.load"'))).toHaveLength(3);
  });

  it('finds out by itself when it is not told', async () => {
    const limits = new Limits();
    const { feed } = await start(limits, 20);
    limits.set([limit(ORGANIZATION, 2n)]);
    await until(() => amountOf(feed) === 2n);
    const { reads } = limits;
    const { looks } = limits;
    await until(() => limits.looks > looks + 3);
    expect(limits.reads).toBe(reads);
  });

  it('reads once for many notifications at once, and misses none of them', async () => {
    const limits = new Limits();
    const { feed } = await start(limits, NEVER_MS);
    for (let amount = 1n; amount <= 50n; amount++) {
      limits.set([limit(ORGANIZATION, amount)]);
      limits.tell();
    }
    await until(() => amountOf(feed) === 50n);
    expect(limits.reads).toBeLessThan(10);
  });

  it('follows a database that has gone back to an earlier revision', async () => {
    const limits = new Limits();
    limits.revisionNow = 9n;
    const { feed } = await start(limits, NEVER_MS);
    limits.revisionNow = 3n;
    limits.rows = [limit(ORGANIZATION, 4n)];
    limits.tell();
    await until(() => feed.current.revision === 3n);
    expect(amountOf(feed)).toBe(4n);
  });

  it('keeps the last good limits when new ones do not compile, and says so once', async () => {
    const limits = new Limits();
    limits.set([limit(ORGANIZATION, 1n)]);
    const { feed, lines } = await start(limits, 10);
    limits.set([WRONG]);
    await until(() => lines.some((line) => line.includes('"policy.reject"')));
    const { looks } = limits;
    await until(() => limits.looks > looks + 5);
    expect(amountOf(feed)).toBe(1n);
    expect(feed.current.revision).toBe(1n);
    const rejections = lines.filter((line) => line.includes('"policy.reject"'));
    expect(rejections).toHaveLength(1);
    expect(JSON.parse(rejections[0] ?? '')).toMatchObject({
      revision: '2',
      reason: expect.stringContaining(WRONG.id),
    });
    expect(lines.filter((line) => line.includes('"level":"error"'))).toHaveLength(1);
    limits.set([limit(ORGANIZATION, 3n)]);
    await until(() => amountOf(feed) === 3n);
  });

  it('keeps the last good limits while the store is away, and says so once', async () => {
    const limits = new Limits();
    limits.set([limit(ORGANIZATION, 1n)]);
    const { feed, lines } = await start(limits, 10);
    limits.away = true;
    const { looks } = limits;
    await until(() => limits.looks > looks + 5);
    expect(amountOf(feed)).toBe(1n);
    await until(() => feed.isOutdated);
    limits.set([limit(ORGANIZATION, 2n)]);
    limits.away = false;
    await until(() => amountOf(feed) === 2n);
    await until(() => lines.some((line) => line.includes('current again')));
    await until(() => !feed.isOutdated);
    expect(lines.filter((line) => line.includes('"level":"warn"'))).toHaveLength(1);
  });

  it('does not start without limits that can be enforced', async () => {
    const limits = new Limits();
    limits.set([WRONG]);
    await expect(start(limits, 10)).rejects.toThrow(WRONG.id);
    limits.away = true;
    await expect(start(limits, 10)).rejects.toThrow('store unavailable');
    expect(limits.listening).toBe(0);
  });

  it('lets go when it is closed', async () => {
    const limits = new Limits();
    const { feed } = await start(limits, 10);
    await feed.close();
    const { looks } = limits;
    expect(limits.listening).toBe(0);
    limits.tell();
    await sleep(50);
    expect(limits.looks).toBe(looks);
  });
});
