import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { findPgBouncer, type PoolMode } from '@claude-gateway/dev';
import { describeWith } from '../testbed/requirements.ts';
import { quietTimeZone, usd, type Budget, type Developer } from './caps.ts';
import { bodyOf, Client, type Ask } from './client.ts';
import { startFleet, type Fleet, type Replica } from './fleet.ts';
import { disagreements, LedgerObserver } from './ledger-observer.ts';
import { smallAnswer } from './leftovers.ts';
import { startMeteredUpstream, type MeteredUpstream } from './metered-upstream.ts';
import { outcomes, overspending, recordFindings } from './storm-checks.ts';
import { runStorm } from './storm.ts';

const describeWithPgBouncer = describeWith({ PgBouncer: findPgBouncer() });
const MODES: readonly PoolMode[] = ['session', 'transaction'];

describeWithPgBouncer.each(MODES)('two replicas behind a connection pooler in %s mode', (mode) => {
  let upstream: MeteredUpstream;
  let fleet: Fleet;
  const client = new Client();
  const developer: Developer = { sub: 'ada', groups: [] };
  const [one, two] = [0, 1].map((i) => () => fleet.replicas[i] as Replica) as [() => Replica, () => Replica];
  beforeAll(async () => {
    upstream = await startMeteredUpstream({ plan: smallAnswer });
    // Without the patience that covers for recalls: what is idle elsewhere goes back by itself after a while.
    const config = { enforcement: { max_wait_ms: 0 } };
    fleet = await startFleet({ replicas: 2, upstreamUrl: upstream.url, pooler: mode, config });
  }, 120_000);
  afterAll(async () => {
    client.close();
    await fleet?.stop();
    await upstream?.stop();
  });

  it('say at the start what the pooler keeps from them', () => {
    for (const replica of fleet.replicas) {
      const warned = replica.process.lines.filter(({ msg }) => String(msg).includes('transaction mode'));
      expect(warned).toHaveLength(mode === 'transaction' ? 1 : 0);
    }
  });

  it('refuse nobody for what the other one holds idle', async () => {
    const cap: Budget = {
      subjectKind: 'user',
      subject: developer.sub,
      unit: 'nano_usd',
      period: 'daily',
      amount: usd('1.00'),
    };
    const observer = new LedgerObserver(fleet.databaseUrl);
    await observer.install([cap]);
    await fleet.admin.set({
      scope: { type: 'user', user: developer.sub },
      period: 'daily',
      unit: 'nano_usd',
      amount: cap.amount,
      whenShort: 'refuse',
      timeZone: quietTimeZone(),
    });
    await sleep(3_000);
    const statuses: number[] = [];
    for (let index = 0; index < 12; index++) {
      // At most some $0.60 of a limit of $1: it fits whenever nobody else holds anything.
      const ask: Ask = {
        index,
        model: 'claude-opus-4-8',
        maxTokens: 22_000,
        bytes: 1_000,
        stream: false,
        cache: 'none',
        webSearches: 0,
      };
      const replica = index % 2 === 0 ? one() : two();
      const whole = { ...ask, bytes: bodyOf(ask).length };
      statuses.push((await client.ask(replica.url, fleet.bearer(developer), whole)).status);
    }
    expect(statuses).toEqual(Array.from({ length: 12 }, () => 200));
    expect(await observer.untilQuiet(60_000)).toEqual([]);
    expect(await observer.violations()).toEqual([]);
    expect(await disagreements(observer)).toEqual([]);
  }, 120_000);

  it('start again, one after the other, as in an upgrade', async () => {
    for (const replica of fleet.replicas) {
      await replica.stop();
      await replica.start();
    }
  }, 120_000);
});

describeWithPgBouncer.each(MODES)('a storm through a connection pooler in %s mode', (mode) => {
  it('never has a cap exceeded, and loses nothing', async () => {
    const storm = await runStorm({
      seed: 20261129,
      requests: 1500,
      concurrency: 100,
      replicas: 3,
      trouble: true,
      pooler: mode,
    });
    try {
      expect(await storm.observer.untilQuiet(120_000)).toEqual([]);
      const counts = outcomes(storm);
      console.log(
        `${mode} mode: ${storm.exchanges.length} requests in ${storm.seconds.toFixed(1)} s`,
        counts,
      );
      expect(counts['200']).toBeGreaterThan(100);
      expect(storm.disturbances).toHaveLength(4);
      expect(await storm.observer.violations()).toEqual([]);
      expect(overspending(storm, await storm.observer.records())).toEqual([]);
      expect(await disagreements(storm.observer)).toEqual([]);
      expect(recordFindings(storm, await storm.observer.records())).toEqual([]);
    } finally {
      await storm.stop();
    }
  }, 290_000);
});
