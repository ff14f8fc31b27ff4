import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StoreUnavailableError, type SpendLimit } from '@claude-gateway/prisma';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createApp } from '../http/app.ts';
import { setContext } from '../http/context.ts';
import { unauthenticated } from '../http/errors.ts';
import { createLog } from '../observe/log.ts';
import type { Principal } from '../principal.ts';
import { useStores } from '../testing/stores.ts';
import { answer, callOf, DOLLAR, limit, snapshotOf, somebody, spendBed } from './admission/testing/bed.ts';
import { createUsageRouter } from './usage-router.ts';

const stores = useStores();
/** A Wednesday. */
const NOW = new Date('2026-08-05T12:00:00Z');

let server: Server;
let origin: string;
let limits: SpendLimit[];
let principal: Principal;
let away: boolean;

beforeAll(async () => {
  const log = createLog('silent', { write: () => undefined });
  const reached = <T>(value: T): T => {
    if (away) throw new StoreUnavailableError('away');
    return value;
  };
  const app = createApp([
    createUsageRouter({
      authenticate: (headers) => {
        if (headers.authorization === undefined) throw unauthenticated();
        return principal;
      },
      caps: () => snapshotOf(limits),
      ledger: {
        windows: (ids) => reached(stores.store.ledger).windows(ids),
        openWindows: (windows) => reached(stores.store.ledger).openWindows(windows),
      },
      spendSince: (sub, since) => reached(stores.store.usage).spendSince(sub, since),
      isUnavailable: (error) => error instanceof StoreUnavailableError,
      clock: () => NOW,
    }),
  ]);
  server = createServer((request, response) => {
    setContext(request, { id: 'req_1', clientAddress: '127.0.0.1', log, startedAt: 0 });
    app(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());
beforeEach(() => {
  limits = [];
  principal = somebody();
  away = false;
});

const ask = (headers: Record<string, string> = { authorization: 'Bearer x' }, method = 'GET') =>
  fetch(`${origin}/api/oauth/usage`, { method, headers });
const usage = async (): Promise<unknown> => (await ask()).json();

/** Somebody's request at that moment, that cost so many cents. */
async function spend(cents: number, at: Date = NOW): Promise<void> {
  const bed = await spendBed({
    store: stores.store.ledger,
    limits,
    overrides: { clock: () => at.getTime() },
  });
  try {
    const admitted = await bed.admit(callOf({ principal, maxTokens: 1 }));
    // Five tokens of input cost what one of output does.
    answer(admitted, { input_tokens: 5, output_tokens: Math.round(cents * 400) - 1 });
  } finally {
    await bed.ledger.close(5_000);
  }
}

describe('GET /api/oauth/usage', () => {
  it('has what somebody without a limit spent this month, today and this week, as the reference writes it', async () => {
    await spend(1.9, new Date('2026-08-05T00:00:00Z'));
    await spend(10, new Date('2026-08-04T23:59:59Z'));
    await spend(100, new Date('2026-08-02T23:59:59Z'));
    await spend(1000, new Date('2026-07-31T23:59:59Z'));
    const response = await ask();
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.text()).toBe(
      '{"extra_usage":{"is_enabled":true,"monthly_limit":null,"used_credits":111,"utilization":null,"currency":"USD",' +
        '"daily":{"limit":null,"used_credits":1,"utilization":null},' +
        '"weekly":{"limit":null,"used_credits":11,"utilization":null}},"limits":[]}',
    );
  });

  it('has the fullest limit in dollars and a row for each, as the reference writes them', async () => {
    limits = [
      limit({ period: 'monthly', amount: 10n * DOLLAR }),
      limit({ period: 'daily', amount: 5n * DOLLAR }),
      limit({ period: 'weekly', amount: 5n * DOLLAR }),
    ];
    await spend(400);
    expect(await (await ask()).text()).toBe(
      '{"extra_usage":{"is_enabled":true,"monthly_limit":500,"used_credits":400,"utilization":80,"currency":"USD"},"limits":[' +
        '{"kind":"spend","group":"daily","percent":80,"resets_at":"2026-08-06T00:00:00.000Z","severity":"warning","is_active":false},' +
        '{"kind":"spend","group":"weekly","percent":80,"resets_at":"2026-08-10T00:00:00.000Z","severity":"warning","is_active":true},' +
        '{"kind":"spend","group":"monthly","percent":40,"resets_at":"2026-09-01T00:00:00.000Z","severity":"normal","is_active":false}]}',
    );
  });

  it('knows at once what was spent, and what was spent before the limit was set', async () => {
    await spend(50);
    limits = [limit({ amount: 1n * DOLLAR })];
    expect(await usage()).toMatchObject({ extra_usage: { used_credits: 50, utilization: 50 } });
    await spend(30.9);
    expect(await usage()).toMatchObject({ extra_usage: { used_credits: 80, utilization: 81 } });
    await spend(69.1);
    expect(await usage()).toMatchObject({
      extra_usage: { used_credits: 150, utilization: 150 },
      limits: [{ percent: 150, severity: 'critical' }],
    });
  });

  it('has a limit of nothing as full', async () => {
    limits = [limit({ amount: 0n, period: 'daily' })];
    expect(await usage()).toEqual({
      extra_usage: {
        is_enabled: true,
        monthly_limit: 0,
        used_credits: 0,
        utilization: 100,
        currency: 'USD',
      },
      limits: [
        {
          kind: 'spend',
          group: 'daily',
          percent: 100,
          resets_at: '2026-08-06T00:00:00.000Z',
          severity: 'critical',
          is_active: true,
        },
      ],
    });
  });

  it('shows limits in tokens by percent, beside what was spent in dollars', async () => {
    limits = [limit({ amount: 40_000n, unit: 'tokens' })];
    await spend(50);
    expect(await usage()).toMatchObject({
      extra_usage: { monthly_limit: null, used_credits: 50, daily: { used_credits: 50 } },
      limits: [{ kind: 'tokens', group: 'monthly', percent: 50, is_active: false }],
    });
  });

  it('never puts the dollars of one limit beside the percentage of another', async () => {
    limits = [limit({ amount: 40_000n, unit: 'tokens' }), limit({ amount: 10n * DOLLAR })];
    await spend(50);
    expect(await usage()).toMatchObject({
      extra_usage: { monthly_limit: null, used_credits: 50 },
      limits: [
        { kind: 'spend', percent: 5, is_active: false },
        { kind: 'tokens', percent: 50, is_active: false },
      ],
    });
    limits = [limit({ amount: 400_000n, unit: 'tokens' }), limit({ amount: 1n * DOLLAR })];
    expect(await usage()).toMatchObject({
      extra_usage: { monthly_limit: 100, used_credits: 50 },
      limits: [
        { kind: 'spend', percent: 50, is_active: true },
        { kind: 'tokens', percent: 5, is_active: false },
      ],
    });
  });

  it('is for GET, and for who is signed in', async () => {
    expect((await ask({})).status).toBe(401);
    const posted = await ask({ authorization: 'Bearer x' }, 'POST');
    expect(posted.status).toBe(405);
    expect(posted.headers.get('allow')).toBe('GET, HEAD');
  });

  it('answers 503 while PostgreSQL is away, with and without limits', async () => {
    away = true;
    expect((await ask()).status).toBe(503);
    limits = [limit()];
    const response = await ask();
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ error: { message: 'spend limit unavailable' } });
  });
});
