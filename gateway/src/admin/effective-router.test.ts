import { describe, beforeAll, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { UsageRecord } from '@claude-gateway/prisma';
import { windowOf } from './testing/caps.ts';
import { useAdminServer } from './testing/admin-server.ts';

const LIMITS = '/v1/organizations/spend_limits';
const CENT = 10_000_000n;
const REPLICA = randomUUID();
const admin = useAdminServer();
/** Wednesday noon, UTC. */
const NOON = new Date('2027-03-17T12:00:00.000Z');

function record(sub: string, costNanoUsd: bigint, admittedAt: Date): UsageRecord {
  return {
    id: randomUUID(),
    requestId: 'req_1',
    sub,
    kind: 'user',
    email: null,
    name: null,
    groups: [],
    model: 'claude-opus-4-8',
    upstream: 'anthropic',
    fastMode: false,
    inputTokens: 1,
    outputTokens: 1,
    cacheReadTokens: 0,
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    webSearches: 0,
    costNanoUsd,
    outcome: 'complete',
    status: 200,
    admittedAt,
    firstByteMs: 1,
    durationMs: 2,
  };
}

const spend = (sub: string, cost: bigint, at = NOON, windowIds: readonly string[] = []) =>
  admin.store.ledger.settle(REPLICA, {
    settlements: [{ record: record(sub, cost, at), windowIds }],
    returns: [],
  });
const effective = (query: string) => admin.call('GET', `${LIMITS}/effective?${query}`, { as: 'reader' });

beforeAll(async () => {
  admin.now = NOON;
  const people = { alice: ['eng'], bob: ['ops'], carol: ['eng', 'ops'] };
  for (const [sub, groups] of Object.entries(people)) {
    const email = `${sub}@corp.example`;
    await admin.store.usage.touch([{ sub, kind: 'user', email, name: `The ${sub}`, groups, seenAt: NOON }]);
  }
  await spend('alice', 3n * CENT);
  await spend('alice', CENT / 2n, new Date('2027-03-16T23:59:59.999Z'));
  await spend('bob', 1n);
  await spend('carol', 5n * CENT, new Date('2027-03-02T00:00:00.000Z'));
  const limits = [
    { scope: { type: 'organization' }, amount: '5000', period: 'monthly' },
    { scope: { type: 'rbac_group', rbac_group_id: 'eng' }, amount: '200', period: 'daily' },
    { scope: { type: 'user', user_id: 'alice' }, amount: null, period: 'weekly' },
  ];
  for (const body of limits) await admin.call('POST', LIMITS, { body });
});

describe('GET /effective', () => {
  it('has a row for each person and period, as the reference writes it', async () => {
    const { data, body } = await effective('user_ids[]=alice');
    expect(body['next_page']).toBeNull();
    const alice = {
      scope: { type: 'user', user_id: 'alice' },
      groups: ['eng'],
      actor: {
        type: 'user_actor',
        user_id: 'alice',
        name: 'The alice',
        email_address: 'alice@corp.example',
        deleted: false,
      },
      currency: 'USD',
    };
    const id = expect.stringMatching(/^spl_/) as unknown;
    expect(data).toEqual([
      {
        ...alice,
        period: 'daily',
        amount: '200',
        source: { type: 'rbac_group', rbac_group_id: 'eng' },
        spend_limit_id: id,
        period_to_date_spend: '3',
      },
      {
        ...alice,
        period: 'weekly',
        amount: null,
        source: { type: 'user', user_id: 'alice' },
        spend_limit_id: id,
        period_to_date_spend: '3.5',
      },
      {
        ...alice,
        period: 'monthly',
        amount: '5000',
        source: { type: 'organization' },
        spend_limit_id: id,
        period_to_date_spend: '3.5',
      },
    ]);
    expect(Object.keys(data[0] ?? {})).toEqual([
      ...['scope', 'groups', 'actor', 'amount', 'currency', 'period', 'source'],
      ...['spend_limit_id', 'period_to_date_spend'],
    ]);
  });

  it('is exact to the nano-dollar', async () => {
    const { data } = await effective('user_ids[]=bob&period[]=daily');
    expect(data[0]).toMatchObject({ period_to_date_spend: '0.0000001', amount: null, source: null });
  });

  it('turns the day over', async () => {
    admin.now = new Date('2027-03-18T00:00:00.000Z');
    const { data } = await effective('user_ids[]=alice');
    expect(data.map((row) => row['period_to_date_spend'])).toEqual(['0', '3.5', '3.5']);
    admin.now = NOON;
  });

  it('lists the biggest spenders page by page', async () => {
    const seen: unknown[] = [];
    for (let page = ''; ;) {
      const { data, body } = await effective(`sort=spend_desc&period[]=monthly&limit=1${page}`);
      seen.push(...data.map((row) => (row['actor'] as { user_id: string }).user_id));
      if (typeof body['next_page'] !== 'string') break;
      page = `&page=${body['next_page']}`;
    }
    expect(seen).toEqual(['carol', 'alice', 'bob']);
  });

  it('counts from the midnight of the zone that the limit names', async () => {
    const limit = { scope: { type: 'user', user_id: 'bob' }, amount: '900', period: 'daily' };
    const { body } = await admin.call('POST', LIMITS, { body: { ...limit, time_zone: 'Asia/Tokyo' } });
    // In Tokyo the 17th began at 15:00 UTC of the 16th.
    await spend('bob', 2n, new Date('2027-03-16T15:00:00.000Z'));
    await spend('bob', 4n, new Date('2027-03-16T14:59:59.999Z'));
    const spent = async () =>
      (await effective('user_ids[]=bob&period[]=daily')).data[0]?.['period_to_date_spend'];
    expect(await spent()).toBe('0.0000003');

    // Once there is a window it is what enforcement looks at.
    const made = await admin.store.limits.get(String(body['id']));
    if (made === null) throw new Error('the limit is not there');
    const window = windowOf('bob', made, NOON.getTime());
    await admin.store.ledger.openWindows([window]);
    await spend('bob', 8n, NOON, [window.id]);
    expect(await spent()).toBe('0.0000011');
  });

  it('tells everything that applies when it is asked', async () => {
    const { data } = await effective('user_ids[]=bob&period[]=daily&include[]=caps');
    expect(data[0]?.['caps']).toEqual([
      {
        spend_limit_id: data[0]?.['spend_limit_id'],
        policy: null,
        unit: 'usd',
        currency: 'USD',
        sharing: 'per_member',
        amount: '900',
        used: '0.0000011',
        held: '0',
        resets_at: '2027-03-17T15:00:00.000Z',
      },
    ]);
    expect((await effective('include[]=pools')).status).toBe(400);
  });

  it('sees at once what was written before', async () => {
    for (const amount of ['1', '2', '3']) {
      await admin.call('POST', LIMITS, {
        body: { scope: { type: 'user', user_id: 'carol' }, amount, period: 'daily' },
      });
      const { data } = await effective('user_ids[]=carol&period[]=daily');
      expect(data[0]?.['amount']).toBe(amount);
    }
  });
});
