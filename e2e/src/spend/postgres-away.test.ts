import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { quietTimeZone, usd, type Budget, type Developer } from './caps.ts';
import { bodyOf, Client, type Ask, type Got } from './client.ts';
import { startFleet, type Fleet, type Replica } from './fleet.ts';
import { disagreements, LedgerObserver } from './ledger-observer.ts';
import { startMeteredUpstream, type AnswerPlan, type MeteredUpstream } from './metered-upstream.ts';
import { Random } from './random.ts';
import { answerTo } from './storm-plan.ts';
import { recordFindings } from './storm-checks.ts';
import type { Exchange } from './storm.ts';

/** `POSTGRES_AWAY_SECONDS=60 make test TESTS=e2e/src/spend/postgres-away` takes a minute of it. */
const AWAY_MS = Number(process.env['POSTGRES_AWAY_SECONDS'] ?? 8) * 1000;
const CAP = usd('50.00');
/** Each of them asks this many things at once. */
const AT_ONCE = 4;

/** Who works before PostgreSQL goes away has a lease; who begins while it is away has none. */
const PEOPLE = [
  { sub: 'open-warm', failurePolicy: 'open', warm: true },
  { sub: 'open-cold', failurePolicy: 'open', warm: false },
  { sub: 'closed-warm', failurePolicy: 'closed', warm: true },
  { sub: 'closed-cold', failurePolicy: 'closed', warm: false },
] as const;
type Sub = (typeof PEOPLE)[number]['sub'];

const plans = new Map<number, AnswerPlan>();
const random = new Random(7);
let upstream: MeteredUpstream;
let fleet: Fleet;
let observer: LedgerObserver;
const client = new Client();
const exchanges: Exchange[] = [];
beforeAll(async () => {
  upstream = await startMeteredUpstream({ plan: (index) => plans.get(index) as AnswerPlan });
  fleet = await startFleet({ replicas: 2, upstreamUrl: upstream.url });
  observer = new LedgerObserver(fleet.databaseUrl);
  const budgets = PEOPLE.map(({ sub }): Budget => ({
    subjectKind: 'user',
    subject: sub,
    unit: 'nano_usd',
    period: 'daily',
    amount: CAP,
  }));
  await observer.install(budgets);
  for (const { sub, failurePolicy } of PEOPLE) {
    await fleet.admin.set({
      scope: { type: 'user', user: sub },
      period: 'daily',
      unit: 'nano_usd',
      amount: CAP,
      failurePolicy,
      timeZone: quietTimeZone(),
    });
  }
  await sleep(3_000);
}, 120_000);
afterAll(async () => {
  client.close();
  await fleet?.stop();
  await upstream?.stop();
});

const WAYS = [
  {
    way: 'PostgreSQL is shut down',
    leave: () => fleet.postgres.pause(),
    comeBack: () => fleet.postgres.restart(),
  },
  {
    way: 'the network to PostgreSQL swallows everything',
    leave: async () => fleet.network.set('hang'),
    comeBack: async () => fleet.network.set('pass'),
  },
  {
    way: 'PostgreSQL is stopped where it is',
    leave: async () => fleet.postgres.freeze(),
    comeBack: async () => fleet.postgres.thaw(),
  },
];

describe.each(WAYS)('$way, under load', ({ way, leave, comeBack }) => {
  const answers = new Map<Sub, Got[]>(PEOPLE.map(({ sub }) => [sub, []]));
  let back: Got[] = [];
  beforeAll(async () => {
    let running = true;
    const load = (sub: Sub): Promise<void>[] =>
      Array.from({ length: AT_ONCE }, async () => {
        while (running) {
          const got = await askOnce({ sub, groups: [] });
          answers.get(sub)?.push(got);
          if (got.status !== 200) await sleep(100);
        }
      });
    const warm = PEOPLE.filter((one) => one.warm).flatMap(({ sub }) => load(sub));
    await sleep(2_000);
    for (const got of answers.values()) got.length = 0;
    await leave();
    const cold = PEOPLE.filter((one) => !one.warm).flatMap(({ sub }) => load(sub));
    await sleep(AWAY_MS);
    running = false;
    await Promise.all([...warm, ...cold]);
    await comeBack();
    console.log(`${way} for ${AWAY_MS / 1000} s\n${PEOPLE.map(({ sub }) => told(sub)).join('\n')}`);
    back = await untilServed();
  }, AWAY_MS + 90_000);

  function told(sub: Sub): string {
    const all = answers.get(sub) ?? [];
    const counts = Object.entries(Object.groupBy(all, ({ status }) => status))
      .map(([status, got]) => `${status} × ${got?.length}`)
      .join(', ');
    const waits = all.map((got) => got.endedAt - got.askedAt);
    const first = waits.slice(0, AT_ONCE).map((ms) => `${ms.toFixed(0)} ms`);
    return `  ${sub}: ${counts}; first answers after ${first.join(', ')}; longest ${Math.max(...waits).toFixed(0)} ms`;
  }

  it.each(['open-warm', 'open-cold'] as const)('serves everything to %s', (sub) => {
    const all = answers.get(sub) ?? [];
    expect(all.length).toBeGreaterThan(0);
    expect(all.filter(({ status }) => status !== 200).map(({ status, body }) => ({ status, body }))).toEqual(
      [],
    );
  });

  it('serves closed-warm out of its leases, or says that limits cannot be read; and nothing else', () => {
    const all = answers.get('closed-warm') ?? [];
    expect(all.length).toBeGreaterThan(0);
    expect(all.filter((got) => got.status !== 200 && !isUnreadable(got)).map(({ body }) => body)).toEqual([]);
  });

  it('refuses everything to closed-cold, as limits that cannot be read', () => {
    const all = answers.get('closed-cold') ?? [];
    expect(all.length).toBeGreaterThan(0);
    // Somebody who was served a second ago, in another test of this file, is not cold.
    const refused = all.filter(isUnreadable);
    expect(refused.length).toBeGreaterThan(0);
    expect(all.filter((got) => got.status !== 200 && !isUnreadable(got)).map(({ body }) => body)).toEqual([]);
  });

  it('serves everybody soon after', () => {
    expect(back.map(({ status }) => status)).toEqual(PEOPLE.map(() => 200));
  });

  it('has lost nothing', async () => {
    expect(await observer.untilQuiet(60_000)).toEqual([]);
    expect(await disagreements(observer)).toEqual([]);
    expect(recordFindings({ upstream, exchanges }, await observer.records())).toEqual([]);
    expect(await observer.violations()).toEqual([]);
  }, 70_000);
});

function isUnreadable({ status, headers, body }: Got): boolean {
  return (
    status === 429 &&
    headers['anthropic-ratelimit-unified-overage-disabled-reason'] === 'fetch_error' &&
    headers['x-should-retry'] === 'false' &&
    body.includes('billing_error')
  );
}

let index = 0;
async function askOnce(developer: Developer): Promise<Got> {
  const ask: Ask = {
    index: index++,
    model: 'claude-haiku-4-5',
    maxTokens: random.int(1, 500),
    bytes: random.int(300, 5_000),
    stream: random.chance(0.5),
    cache: 'none',
    webSearches: 0,
  };
  const whole = { ...ask, bytes: bodyOf(ask).length };
  plans.set(ask.index, { ...answerTo(whole, random, false), delayMs: random.int(0, 60), streamMs: 60 });
  const replica = random.pick<Replica>(fleet.replicas);
  const got = await client.ask(replica.url, fleet.bearer(developer), whole);
  exchanges.push({ ask: whole, developer, replica, got });
  return got;
}

/** The first answers that are served again, or the last that were not. */
async function untilServed(): Promise<Got[]> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const all = await Promise.all(PEOPLE.map(({ sub }) => askOnce({ sub, groups: [] })));
    if (all.every(({ status }) => status === 200) || performance.now() > deadline) return all;
    await sleep(200);
  }
}
