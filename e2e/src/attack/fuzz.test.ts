import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { usd } from '../spend/caps.ts';
import { Random } from '../spend/random.ts';
import { billedIn, startBed, type Account, type Bed } from './bed.ts';
import { hostileRequest, type HostileRequest } from './hostile-requests.ts';

/** `ATTACK_SEED=7 ATTACK_BODIES=200000 make attack` is another one, or a longer one. */
const SEED = Number(process.env['ATTACK_SEED'] ?? 20261129);
const BODIES = Number(process.env['ATTACK_BODIES'] ?? 4_000);
const CONCURRENCY = 24;
/** Somebody rich shows what is charged; of the poor, one after the other shows that a cap holds. */
const RICH = 'rich';
const POOR = Array.from({ length: 20 }, (_, at) => `poor-${at}`);
const CAPS: Readonly<Record<string, string>> = {
  [RICH]: '1000000.00',
  ...Object.fromEntries(POOR.map((sub, at) => [sub, at % 2 === 0 ? '0.20' : '0.02'])),
};
/** A liveness bound: everybody else is served while this goes on. */
const MAX_HEALTH_MS = 2_000;

let bed: Bed;
const accounts: { sub: string; request: HostileRequest; account: Account }[] = [];
let slowestHealthMs = 0;
let seconds = 0;

beforeAll(
  async () => {
    bed = await startBed({ caps: CAPS, config: { enforcement: { max_wait_ms: 500 } } });
    const random = new Random(SEED);
    let left = BODIES;
    let over = false;
    const watch = (async () => {
      while (!over) {
        const before = performance.now();
        await fetch(`${bed.fleet.replicas[0]?.url}/healthz`).then((response) => response.arrayBuffer());
        slowestHealthMs = Math.max(slowestHealthMs, performance.now() - before);
        await sleep(100);
      }
    })();
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: CONCURRENCY }, async () => {
        while (left-- > 0) {
          const request = hostileRequest(random);
          const poor = POOR[Math.floor((accounts.length / BODIES) * POOR.length)] ?? RICH;
          const sub = random.chance(0.6) ? RICH : poor;
          const { text, conduct, abortAfterMs } = request;
          const options = abortAfterMs === undefined ? {} : { abortAfterMs };
          accounts.push({ sub, request, account: await bed.ask(sub, text, conduct, options) });
        }
      }),
    );
    seconds = (performance.now() - startedAt) / 1_000;
    over = true;
    await watch;
  },
  60_000 + BODIES * 50,
);
afterAll(() => bed?.stop());

describe(`${BODIES} request bodies that nobody would send (seed ${SEED})`, () => {
  it('were many kinds', () => {
    const counts: Record<string, number> = {};
    for (const { account } of accounts) counts[account.got.status] = (counts[account.got.status] ?? 0) + 1;
    console.log(
      `seed ${SEED}: ${accounts.length} bodies in ${seconds.toFixed(1)} s`,
      counts,
      `${bed.cloud.bills.length} bills`,
    );
    expect(counts['200']).toBeGreaterThan(BODIES / 20);
    expect(counts['400']).toBeGreaterThan(BODIES / 20);
    expect(counts['429']).toBeGreaterThan(0);
  });

  it('are never answered an error of the gateway itself', () => {
    const faults = accounts.filter(({ account, request }) => {
      const { status } = account.got;
      const mayBreak = request.conduct.fault !== undefined;
      const mayBeSilent = request.abortAfterMs !== undefined;
      if (status === 0) return !mayBeSilent;
      return status >= 500 && !mayBreak;
    });
    expect(
      faults.slice(0, 3).map(({ request, account }) => [account.got.status, account.got.body, request]),
    ).toEqual([]);
    const errors = bed.fleet.replicas[0]?.process.lines.filter(
      ({ level }) => level === 'error' || level === 'fatal',
    );
    expect(errors?.slice(0, 3)).toEqual([]);
  });

  it('cost everybody at least what the cloud bills, and no more than the cap', async () => {
    for (const [sub, cap] of Object.entries(CAPS)) {
      const charged = await bed.charged(sub);
      const theirs = accounts.filter((one) => one.sub === sub).map(({ account }) => account);
      expect({ sub, isCovered: charged >= billedIn(theirs), isWithin: charged <= usd(cap) }).toEqual({
        sub,
        isCovered: true,
        isWithin: true,
      });
    }
  }, 60_000);

  it('cost each what the cloud bills for it: exactly where it says so, and else no less', async () => {
    const charges = new Map<string, bigint>();
    for (const { requestId, cost } of await bed.observer.records()) {
      charges.set(requestId, (charges.get(requestId) ?? 0n) + cost);
    }
    const wrong = accounts.filter(({ request, account: { got, billed } }) => {
      // Without its marker the bill cannot be found.
      if (got.requestId === undefined || !request.text.includes('#')) return false;
      const charged = charges.get(got.requestId) ?? 0n;
      const { usage, fault } = request.conduct;
      const isExact = got.whole && usage === undefined && fault === undefined;
      return isExact ? charged !== billed : charged < billed;
    });
    expect(
      wrong.slice(0, 3).map(({ request, account: { got, bills, billed } }) => ({
        ...request,
        status: got.status,
        bills,
        billed,
        charged: charges.get(got.requestId ?? ''),
      })),
    ).toEqual([]);
  });

  it('left everybody else served, and nothing written above a cap', async () => {
    expect(slowestHealthMs).toBeLessThan(MAX_HEALTH_MS);
    expect(await bed.observer.violations()).toEqual([]);
    expect(
      (
        await bed.ask(
          RICH,
          '{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"#"}]}',
        )
      ).got.status,
    ).toBe(200);
  });
});
