import { afterEach, describe, expect, it } from '@jest/globals';
import type { AlertStore, SpendLimit, Store } from '@claude-gateway/prisma';
import { StoreUnavailableError } from '@claude-gateway/prisma';
import { randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { createLog } from '../../observe/log.ts';
import { useStores } from '../../testing/stores.ts';
import type { AppliedCap } from '../types.ts';
import { BudgetAlerts, type BudgetAlertsDependencies, type BudgetState } from './budget-alerts.ts';

const postgres = useStores(2);
const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A receiver that answers what the test says. */
async function receive(answer: (path: string) => number = () => 204, port = 0) {
  const received: Received[] = [];
  const server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      received.push({ path: request.url ?? '', headers: request.headers, body });
      const status = answer(request.url ?? '');
      response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end();
    });
  });
  await new Promise<void>((ready) => server.listen(port, '127.0.0.1', ready));
  const close = () =>
    new Promise<void>((closed) => {
      server.close(() => closed());
      server.closeAllConnections();
    });
  cleanUps.push(close);
  const { port: actual } = server.address() as AddressInfo;
  return { received, url: `http://127.0.0.1:${actual}/hook`, port: actual, close };
}

/** One replica. */
function replica(overrides: Partial<BudgetAlertsDependencies> & { store: AlertStore }) {
  const lines: string[] = [];
  const audited: [string, Record<string, unknown>][] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString());
      done();
    },
  });
  const alerts = new BudgetAlerts({
    webhooks: [],
    source: 'https://claude.example',
    audit: (event, fields) => void audited.push([event, fields]),
    log: createLog('info', sink),
    clock: () => new Date(),
    userAgent: 'claude-gateway/test',
    allowLoopback: true,
    times: { pollMs: 50, firstPauseMs: 50, longestPauseMs: 100 },
    ...overrides,
  });
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= alerts.close());
  cleanUps.push(close);
  return { alerts, audited, lines, close };
}

function newCap(amount: bigint, limit: Partial<SpendLimit> = {}): AppliedCap {
  return {
    limit: {
      id: 'spl_1',
      scope: { type: 'rbac_group', group: 'eng' },
      period: 'daily',
      unit: 'nano_usd',
      sharing: 'per_member',
      amount,
      mode: 'strict',
      whenShort: 'refuse',
      failurePolicy: null,
      timeZone: 'UTC',
      warnAtPercent: [75, 95],
      blockedMessage: null,
      policyName: 'engineering',
      owner: null,
      createdAt: new Date(0),
      updatedAt: new Date(0),
      ...limit,
    },
    amount,
    source: 'group',
    subject: { kind: 'user', sub: 'ada' },
    window: {
      id: randomUUID(),
      subject: { kind: 'user', sub: 'ada' },
      unit: 'nano_usd',
      period: 'daily',
      timeZone: 'UTC',
      startsAt: new Date('2026-11-23T00:00:00Z'),
      endsAt: new Date('2126-11-24T00:00:00Z'),
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400 && !condition(); tries++) await sleep(25);
  expect(condition()).toBe(true);
}

const thresholds = (audited: readonly [string, Record<string, unknown>][], cap: AppliedCap) =>
  audited
    .filter(([, { window_id }]) => window_id === cap.window.id)
    .map(([event, { threshold }]) => [event, threshold]);

const events = (received: readonly Received[]) =>
  received.map(({ body }) => JSON.parse(body) as { id: string; data: Record<string, unknown> });

describe('thresholds', () => {
  it('are told one after the other, each once, to the last nano-dollar', async () => {
    const { alerts, audited, close } = replica({ store: postgres.store.alerts });
    const cap = newCap(1_000_000_000_001n);
    for (const spent of [
      0n,
      750_000_000_000n,
      750_000_000_001n,
      800n,
      999_999_999_999n,
      1_000_000_000_000n,
    ]) {
      alerts.observe([{ cap, spent }]);
      await sleep(20);
    }
    await close();
    expect(thresholds(audited, cap)).toEqual([
      ['budget.threshold', 75],
      ['budget.threshold', 95],
    ]);
    const second = replica({ store: postgres.store.alerts });
    second.alerts.observe([{ cap, spent: 1_000_000_000_001n }]);
    await second.close();
    expect(thresholds(second.audited, cap)).toEqual([['budget.exhausted', 100]]);
  });

  it('are those of the limit where it has its own, and none of a cap of nothing', async () => {
    const { alerts, audited, close } = replica({ store: postgres.store.alerts });
    const [own, nothing] = [newCap(100n, { warnAtPercent: [10] }), newCap(0n)];
    alerts.observe([
      { cap: own, spent: 99n },
      { cap: nothing, spent: 0n },
    ]);
    await close();
    expect(thresholds(audited, own)).toEqual([['budget.threshold', 10]]);
    expect(thresholds(audited, nothing)).toEqual([]);
  });

  it('are passed, the last one too, when nothing fits in the little that is left', async () => {
    const { alerts, audited, close } = replica({ store: postgres.store.alerts });
    const [little, much] = [newCap(1_000n), newCap(1_000n)];
    alerts.observe([
      { cap: little, spent: 901n, refused: true },
      { cap: much, spent: 900n, refused: true },
      { cap: much, spent: 950n },
    ]);
    await close();
    expect(thresholds(audited, little)).toEqual([
      ['budget.threshold', 75],
      ['budget.threshold', 95],
      ['budget.exhausted', 100],
    ]);
    expect(thresholds(audited, much)).toEqual([
      ['budget.threshold', 75],
      ['budget.threshold', 95],
    ]);
  });

  it('are told by one replica of many that race, and delivered once', async () => {
    const receiver = await receive();
    const webhooks = [{ name: 'pager', url: receiver.url, secret: [newSecret()] }];
    const replicas = Array.from({ length: 6 }, (_, n) =>
      replica({ store: postgres.stores[n % 2]!.alerts, webhooks }),
    );
    const caps = Array.from({ length: 20 }, () => newCap(100n));
    for (const spent of [50n, 75n, 96n, 100n, 101n]) {
      for (const { alerts } of replicas) alerts.observe(caps.map((cap) => ({ cap, spent })));
      await sleep(5);
    }
    await until(() => receiver.received.length >= 60);
    await sleep(300);
    await Promise.all(replicas.map(({ close }) => close()));
    const audited = replicas.flatMap((one) => one.audited);
    for (const cap of caps) {
      expect(
        thresholds(audited, cap)
          .map(([, threshold]) => threshold)
          .toSorted(),
      ).toEqual([100, 75, 95]);
    }
    const ids = events(receiver.received).map(({ id }) => id);
    expect(ids).toHaveLength(60);
    expect(new Set(ids).size).toBe(60);
  });

  it('wait while the store is away', async () => {
    let isAway = true;
    const store: AlertStore = {
      raise: (batch) =>
        isAway ? Promise.reject(new StoreUnavailableError('away')) : postgres.store.alerts.raise(batch),
      claim: (claim) => postgres.store.alerts.claim(claim),
      finish: (...parameters) => postgres.store.alerts.finish(...parameters),
    };
    const { alerts, audited } = replica({ store });
    const cap = newCap(100n);
    alerts.observe([{ cap, spent: 100n }]);
    await sleep(50);
    expect(audited).toEqual([]);
    isAway = false;
    await until(() => audited.length === 3);
  });
});

describe('webhooks', () => {
  it('get signed CloudEvents that say which budget of which policy it is', async () => {
    const receiver = await receive();
    const [secret, next] = [newSecret(), newSecret()];
    await postgres.store.usage.touch([
      {
        sub: 'ada',
        kind: 'user',
        email: 'ada@example.com',
        name: 'Ada',
        groups: [],
        seenAt: new Date('2026-11-23T00:00:00Z'),
      },
    ]);
    const { alerts, lines } = replica({
      store: postgres.store.alerts,
      webhooks: [{ name: 'pager', url: receiver.url, secret: [secret, next] }],
    });
    const cap = newCap(12_345_678_901_234_567_890n % 2n ** 62n);
    const state: BudgetState = { cap, spent: (cap.amount * 77n) / 100n };
    alerts.observe([state]);
    await until(() => receiver.received.length === 1);
    const [{ headers, body }] = receiver.received as [Received];
    expect(headers['content-type']).toBe('application/cloudevents+json; charset=utf-8');
    const signed = headers as Record<string, string>;
    for (const key of [secret, next]) expect(new Webhook(key).verify(body, signed)).toEqual(JSON.parse(body));
    expect(() => new Webhook(newSecret()).verify(body, signed)).toThrow('No matching signature');
    expect(JSON.parse(body)).toEqual({
      specversion: '1.0',
      id: `budget_${cap.window.id}_75`,
      source: 'https://claude.example',
      type: 'dev.claudegateway.budget.threshold.v1',
      subject: 'user/ada',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      datacontenttype: 'application/json',
      data: {
        limit_id: 'spl_1',
        policy: 'engineering',
        scope: { type: 'rbac_group', group: 'eng' },
        sharing: 'per_member',
        source: 'group',
        subject: { kind: 'user', sub: 'ada' },
        unit: 'nano_usd',
        period: 'daily',
        time_zone: 'UTC',
        window_id: cap.window.id,
        window_starts_at: '2026-11-23T00:00:00.000Z',
        window_ends_at: '2126-11-24T00:00:00.000Z',
        amount: cap.amount.toString(),
        spent: state.spent.toString(),
        percent: 76,
        threshold: 75,
        email: 'ada@example.com',
        name: 'Ada',
      },
    });
    expect(headers['webhook-id']).toBe(`budget_${cap.window.id}_75`);
    expect(lines.join('')).not.toContain(secret.slice(6));
  });

  it('are tried again until they are back, by whichever replica lives, and those that took it are left alone', async () => {
    const good = await receive();
    const bad = await receive();
    await bad.close();
    const webhooks = [
      { name: 'good', url: good.url, secret: [newSecret()] },
      { name: 'bad', url: bad.url, secret: [newSecret()] },
    ];
    const first = replica({ store: postgres.store.alerts, webhooks });
    const cap = newCap(100n, { warnAtPercent: [99] });
    first.alerts.observe([{ cap, spent: 99n }]);
    await until(() => first.lines.join('').includes('trying again'));
    await first.close();
    const second = replica({ store: postgres.stores[1]!.alerts, webhooks });
    await until(() => second.lines.join('').includes('trying again'));
    const back = await receive(() => 200, bad.port);
    await until(() => back.received.length > 0);
    await sleep(300);
    expect(back.received).toHaveLength(1);
    expect(good.received).toHaveLength(1);
    expect(back.received[0]!.headers['webhook-id']).toBe(good.received[0]!.headers['webhook-id']);
    const secrets = webhooks.map(({ secret }) => secret[0]!.slice(6));
    for (const secret of secrets) expect([...first.lines, ...second.lines].join('')).not.toContain(secret);
  });

  it('are given up on after a day', async () => {
    const receiver = await receive(() => 500);
    const { alerts, lines } = replica({
      store: postgres.store.alerts,
      webhooks: [{ name: 'pager', url: receiver.url, secret: [newSecret()] }],
      times: { pollMs: 50, firstPauseMs: 20, longestPauseMs: 20, giveUpMs: 500 },
    });
    alerts.observe([{ cap: newCap(100n, { warnAtPercent: [99] }), spent: 99n }]);
    await until(() => lines.join('').includes('giving up'));
    const { length } = receiver.received;
    expect(length).toBeGreaterThan(1);
    await sleep(300);
    expect(receiver.received).toHaveLength(length);
    expect(lines.join('')).toContain('it answered 500');
  });

  it('do not lead elsewhere: redirects are failures, and no address is reached that the guard refuses', async () => {
    const receiver = await receive(() => 302);
    const webhooks = [{ name: 'pager', url: receiver.url, secret: [newSecret()] }];
    const times = { pollMs: 50, firstPauseMs: 20, longestPauseMs: 20, giveUpMs: 300 };
    const store = postgres.store.alerts;
    const open = replica({ store, webhooks, times });
    open.alerts.observe([{ cap: newCap(100n, { warnAtPercent: [99] }), spent: 99n }]);
    await until(() => open.lines.join('').includes('giving up'));
    expect(new Set(receiver.received.map(({ path }) => path))).toEqual(new Set(['/hook']));
    await open.close();

    const { length } = receiver.received;
    const guarded = replica({ store, webhooks, times, allowLoopback: false });
    guarded.alerts.observe([{ cap: newCap(100n, { warnAtPercent: [99] }), spent: 99n }]);
    await until(() => guarded.lines.join('').includes('giving up'));
    expect(receiver.received).toHaveLength(length);
    expect(guarded.lines.join('')).toContain('loopback');
  });

  it('that want no more are not asked again', async () => {
    const receiver = await receive(() => 410);
    const { alerts } = replica({
      store: postgres.store.alerts,
      webhooks: [{ name: 'pager', url: receiver.url, secret: [newSecret()] }],
    });
    alerts.observe([{ cap: newCap(100n, { warnAtPercent: [99] }), spent: 99n }]);
    await until(() => receiver.received.length === 1);
    await sleep(300);
    expect(receiver.received).toHaveLength(1);
  });

  it('get what a replica had taken when it died', async () => {
    const receiver = await receive();
    const { alerts }: Pick<Store, 'alerts'> = postgres.store;
    const cap = newCap(100n);
    await alerts.raise([
      {
        windowId: cap.window.id,
        threshold: 75,
        data: { subject: { kind: 'organization_pool' } },
        deliver: true,
      },
    ]);
    const claimed = await alerts.claim({ leaseMs: 400, limit: 10 });
    expect(claimed).toMatchObject([{ windowId: cap.window.id, attempts: 1, person: null }]);
    expect(await alerts.claim({ leaseMs: 400, limit: 10 })).toEqual([]);
    replica({
      store: alerts,
      webhooks: [{ name: 'pager', url: receiver.url, secret: [newSecret()] }],
    });
    await until(() => receiver.received.length === 1);
    expect(events(receiver.received)).toMatchObject([{ subject: 'organization' }]);
  });
});
