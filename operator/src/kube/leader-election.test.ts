import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiServer } from '@claude-gateway/dev';
import { KubeClient } from './client.ts';
import { LeaderElector, type LeaderElectorOptions, type Lease } from './leader-election.ts';
import { LEASES } from './objects.ts';
import { configOf, describeWithApiServer } from './testing/api-server.ts';
import { eventually } from './testing/eventually.ts';
import { SilentProxy } from './testing/proxy.ts';

const namespace = 'default';

/** Short, and in the proportions of the defaults. */
const TIMES = { leaseDuration: 2000, renewDeadline: 1300, retryPeriod: 200 };
/** For leaders who are to stay, whatever the machine does besides. */
const PATIENT = { leaseDuration: 15_000, renewDeadline: 12_000, retryPeriod: 200 };

describeWithApiServer()('LeaderElector', () => {
  let server: ApiServer;
  let client: KubeClient;
  let name: string;
  let run = 0;
  const electors: LeaderElector[] = [];
  /** What happened, in order, and when. */
  const told: { what: string; at: number }[] = [];

  beforeAll(async () => {
    server = await ApiServer.start();
    client = new KubeClient(configOf(server), { userAgent: 'test' });
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });
  beforeEach(() => {
    name = `lease-${++run}`;
    told.length = 0;
  });
  afterEach(async () => {
    await Promise.all(electors.splice(0).map((elector) => elector.stop()));
  });

  function stand(identity: string, options: Partial<LeaderElectorOptions> = {}): LeaderElector {
    const tell = (what: string) => void told.push({ what: `${identity} ${what}`, at: performance.now() });
    const elector = new LeaderElector({
      client,
      namespace,
      name,
      identity,
      ...TIMES,
      onElected: () => tell('elected'),
      onLost: () => tell('lost'),
      ...options,
    });
    electors.push(elector);
    elector.start();
    return elector;
  }
  const whats = () => told.map(({ what }) => what);
  const at = (what: string) => told.find((each) => each.what === what)?.at ?? Number.NaN;
  const lease = () => client.get<Lease>(LEASES, namespace, name);

  it('elects one of many that race, and renews', async () => {
    const all = ['a', 'b', 'c', 'd'].map((identity) => stand(identity, PATIENT));
    await eventually(() => all.some(({ leading }) => leading));
    const first = await lease();
    await sleep(PATIENT.retryPeriod * 10);
    expect(whats()).toHaveLength(1);
    expect(all.filter(({ leading }) => leading)).toHaveLength(1);
    const later = await lease();
    expect(whats()).toEqual([`${later.spec?.holderIdentity} elected`]);
    expect(later.spec).toMatchObject({ leaseDurationSeconds: 15, leaseTransitions: 0 });
    expect(later.spec?.acquireTime).toBe(first.spec?.acquireTime);
    expect(later.spec?.renewTime).not.toBe(first.spec?.renewTime);
    for (const { leader } of all) expect(leader).toBe(later.spec?.holderIdentity);
  });

  it('hands over at once on a clean shutdown', async () => {
    // The lease does not run out within this test.
    const long = { leaseDuration: 60_000, renewDeadline: 50_000 };
    const first = stand('a', long);
    await eventually(() => first.leading);
    const second = stand('b', long);
    await eventually(() => second.leader === 'a');
    await first.stop();
    expect(first.leading).toBe(false);
    expect(whats()).toEqual(['a elected']);
    await eventually(() => second.leading);
    expect((await lease()).spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
  });

  it('steps down before another takes over when the API goes away for the leader alone', async () => {
    const proxy = await SilentProxy.start(server.port);
    const through = new KubeClient(configOf(server, { via: proxy.port }), { userAgent: 'test' });
    try {
      const first = stand('a', { client: through });
      await eventually(() => first.leading);
      const second = stand('b');
      await eventually(() => second.leader === 'a');
      // From now on nothing comes through, on new connections either, and nothing is closed.
      proxy.silence();
      const silence = setInterval(() => proxy.silence(), 1);
      await eventually(() => second.leading);
      clearInterval(silence);
      expect(whats()).toEqual(['a elected', 'a lost', 'b elected']);
      expect(first.leading).toBe(false);
      // At its end: it does not stand again.
      await sleep(TIMES.leaseDuration);
      expect(whats()).toHaveLength(3);
    } finally {
      through.close();
      await proxy.stop();
    }
  });

  it('goes on when the API is away for less than the deadline', async () => {
    const proxy = await SilentProxy.start(server.port);
    const through = new KubeClient(configOf(server, { via: proxy.port }), { userAgent: 'test' });
    try {
      const first = stand('a', { client: through, ...PATIENT });
      await eventually(() => first.leading);
      for (let i = 0; i < 3; i++) {
        const { renewTime } = (await lease()).spec ?? {};
        proxy.silence();
        await eventually(async () => (await lease()).spec?.renewTime !== renewTime);
      }
      expect(first.leading).toBe(true);
      expect(whats()).toEqual(['a elected']);
    } finally {
      through.close();
      await proxy.stop();
    }
  }, 90_000);

  it('is lost at once when somebody else holds the lease', async () => {
    const first = stand('a');
    await eventually(() => first.leading);
    await client.mergePatch(LEASES, namespace, name, { spec: { holderIdentity: 'thief' } });
    await eventually(() => whats().includes('a lost'));
    expect(first.leading).toBe(false);
    expect((await lease()).spec?.holderIdentity).toBe('thief');
  });

  it('survives edits and a deletion of the lease', async () => {
    const first = stand('a', PATIENT);
    await eventually(() => first.leading);
    await client.mergePatch(LEASES, namespace, name, { metadata: { labels: { edited: '1' } } });
    await sleep(TIMES.retryPeriod * 3);
    expect((await lease()).metadata.labels).toEqual({ edited: '1' });
    await client.delete(LEASES, namespace, name);
    await eventually(async () => (await lease()).spec?.holderIdentity === 'a');
    expect(whats()).toEqual(['a elected']);
  });

  it('takes over what ran out, measured by its own clock and not by the times in the lease', async () => {
    const ahead = new Date(Date.now() + 3600_000).toISOString().replace('Z', '000Z');
    const spec = { holderIdentity: 'dead', leaseDurationSeconds: 2, renewTime: ahead, leaseTransitions: 4 };
    await client.create<Lease>(LEASES, { metadata: { name, namespace }, spec });
    const started = performance.now();
    const first = stand('a');
    await eventually(() => first.leading);
    expect(at('a elected') - started).toBeGreaterThanOrEqual(2000);
    expect((await lease()).spec).toMatchObject({ holderIdentity: 'a', leaseTransitions: 5 });
  });

  it('loses when the API server dies', async () => {
    const errors: unknown[] = [];
    const first = stand('a', { onError: (error) => errors.push(error) });
    await eventually(() => first.leading);
    await server.killServer();
    try {
      await eventually(() => whats().includes('a lost'));
      expect(errors.length).toBeGreaterThan(1);
    } finally {
      await server.startServer();
    }
    const second = stand('b');
    await eventually(() => second.leading);
  }, 60_000);
});

describe('LeaderElector', () => {
  const client = undefined as unknown as KubeClient;
  const options = { client, namespace, name: 'x', identity: 'a', onElected() {}, onLost() {} };
  it.each([
    [{ leaseDuration: 1500 }, 'whole seconds'],
    [{ leaseDuration: 10_000 }, 'longer than renewDeadline'],
    [{ retryPeriod: 9000 }, 'times retryPeriod'],
    [{ identity: '' }, 'identity is empty'],
  ])('refuses %j', (wrong, message) => {
    expect(() => new LeaderElector({ ...options, ...wrong })).toThrow(message);
  });
});
