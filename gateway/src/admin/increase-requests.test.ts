import { describe, expect, it } from '@jest/globals';
import { useAdminServer, type Caller } from './testing/admin-server.ts';

const REQUESTS = '/v1/organizations/spend_limit_increase_requests';
const LIMITS = '/v1/organizations/spend_limits';
const admin = useAdminServer();

const ask = (as: Caller, body: unknown) => admin.call('POST', REQUESTS, { as, body });
const resolve = (id: unknown, how: 'approve' | 'deny', as: Caller, body?: unknown) =>
  admin.call('POST', `${REQUESTS}/${String(id)}/${how}`, { as, ...(body === undefined ? {} : { body }) });

describe('requests for more', () => {
  it('are made by developers, with their standing while they are pending', async () => {
    const limit = { scope: { type: 'rbac_group', rbac_group_id: 'eng' }, amount: '500', period: 'daily' };
    await admin.call('POST', LIMITS, { body: limit });
    const { status, body } = await ask('alice', { period: 'daily', amount: '900', reason: 'release day' });
    expect(status).toBe(200);
    expect(Object.keys(body).slice(0, 9)).toEqual([
      'type',
      'id',
      'actor',
      'created_at',
      'period',
      'resolved_at',
      'resolved_by',
      'spend_summary',
      'status',
    ]);
    expect(body).toMatchObject({
      type: 'spend_limit_increase_request',
      id: expect.stringMatching(/^slir_[0-9a-f]{32}$/) as unknown,
      actor: { type: 'user_actor', user_id: 'alice', email_address: 'alice@corp.example', deleted: false },
      period: 'daily',
      status: 'pending',
      resolved_at: null,
      resolved_by: null,
      spend_summary: { amount: '500', period: 'daily', source: { type: 'rbac_group', rbac_group_id: 'eng' } },
      current_amount: '500',
      requested_amount: '900',
      reason: 'release day',
    });
  });

  it('are one at a time for each person and period', async () => {
    const [first, ...others] = await Promise.all(
      Array.from({ length: 4 }, () => ask('bob', { period: 'weekly' })),
    ).then((answers) => answers.toSorted((a, b) => a.status - b.status));
    expect([first?.status, others.map(({ status }) => status)]).toEqual([200, [409, 409, 409]]);
    expect(others[0]?.error.message).toContain(String(first?.body['id']));
    expect((await ask('bob', { period: 'monthly' })).status).toBe(200);
  });

  it('are one at a time however many come at once', async () => {
    const request = { period: 'daily' as const, currentAmount: null, requestedAmount: 5n, reason: null };
    const { increaseRequests } = admin.store;
    for (let round = 0; round < 5; round++) {
      const sub = `hasty-${round}`;
      const answers = await Promise.all(
        Array.from({ length: 8 }, () =>
          increaseRequests.create({ ...request, sub, actor: `oidc:${sub}`, now: admin.now }),
        ),
      );
      expect(answers.filter(({ state }) => state === 'created')).toHaveLength(1);
      const [one] = answers;
      await increaseRequests.deny(one?.request.id ?? '', {
        actor: 'admin-key:tf',
        note: null,
        now: admin.now,
      });
    }
  });

  it.each<[string, unknown]>([
    ['amount', { amount: 5 }],
    ['amount', { amount: '-5' }],
    ['period', { period: 'yearly' }],
    ['reason', { reason: ['x'] }],
  ])('refuse a wrong %s', async (field, body) => {
    const { status, error } = await ask('carol', body);
    expect(status).toBe(400);
    expect(error.message).toMatch(new RegExp(`^${field}: `));
  });

  it('need a sign-in, not a key', async () => {
    expect((await ask('writer', {})).status).toBe(401);
    expect((await ask('nobody', {})).status).toBe(401);
  });

  it('are seen by whoever asked, and by administrators', async () => {
    const subsFor = async (as: Caller, query = '') =>
      new Set(
        (await admin.call('GET', `${REQUESTS}${query}`, { as })).data.map(
          ({ actor }) => (actor as { user_id: string }).user_id,
        ),
      );
    expect(await subsFor('alice')).toEqual(new Set(['alice']));
    expect(await subsFor('alice', '?actor_ids[]=bob')).toEqual(new Set(['alice']));
    for (const as of ['reader', 'writer', 'carol'] as const) {
      expect(await subsFor(as, '?status[]=pending')).toEqual(new Set(['alice', 'bob']));
    }
    expect(await subsFor('reader', '?actor_ids[]=bob')).toEqual(new Set(['bob']));
    expect((await admin.call('GET', REQUESTS, { as: 'nobody' })).status).toBe(401);

    const [bobs] = (await admin.call('GET', `${REQUESTS}?actor_ids[]=bob`)).data;
    const path = `${REQUESTS}/${String(bobs?.['id'])}`;
    expect((await admin.call('GET', path, { as: 'bob' })).body).toEqual(bobs);
    expect((await admin.call('GET', path, { as: 'reader' })).body).toEqual(bobs);
    expect((await admin.call('GET', path, { as: 'alice' })).status).toBe(404);
    expect((await admin.call('GET', `${REQUESTS}/slir_0`)).status).toBe(404);
    expect((await admin.call('GET', `${REQUESTS}/x%00`)).status).toBe(404);
  });

  it('are listed the latest first, page by page', async () => {
    const all = (await admin.call('GET', `${REQUESTS}?status[]=pending`)).data.map(({ id }) => id);
    const seen: unknown[] = [];
    for (let page = ''; ;) {
      const { data, body } = await admin.call('GET', `${REQUESTS}?status[]=pending&limit=2${page}`);
      seen.push(...data.map(({ id }) => id));
      if (typeof body['next_page'] !== 'string') break;
      page = `&page=${body['next_page']}`;
    }
    expect(all).toHaveLength(3);
    expect(seen).toEqual(all);
    expect((await admin.call('GET', `${REQUESTS}?page=abc`)).status).toBe(400);
    expect((await admin.call('GET', `${REQUESTS}?status[]=lost`)).status).toBe(400);
  });

  it('are resolved by whoever may write', async () => {
    const [first] = (await admin.call('GET', `${REQUESTS}?actor_ids[]=alice`)).data;
    for (const [as, status] of [
      ['alice', 401],
      ['reader', 403],
      ['nobody', 401],
    ] as const) {
      expect((await resolve(first?.['id'], 'approve', as, { amount: '1' })).status).toBe(status);
      expect((await resolve(first?.['id'], 'deny', as)).status).toBe(status);
    }
  });

  it('set the own limit of the person when they are approved, with a trail', async () => {
    const [pending] = (await admin.call('GET', `${REQUESTS}?actor_ids[]=alice`)).data;
    const id = pending?.['id'];
    expect((await resolve(id, 'approve', 'carol', {})).status).toBe(400);
    const { status, body } = await resolve(id, 'approve', 'carol', { amount: '900', note: 'until Friday' });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      status: 'approved',
      spend_summary: null,
      resolved_at: admin.now.toISOString(),
      resolved_by: { type: 'user_actor', user_id: 'carol' },
      resolution_note: 'until Friday',
      approved_amount: '900',
      spend_limit: {
        type: 'spend_limit',
        amount: '900',
        period: 'daily',
        scope: { type: 'user', user_id: 'alice' },
      },
    });
    const limit = body['spend_limit'] as { id: string };
    expect((await admin.call('GET', `${LIMITS}/${limit.id}`)).body['amount']).toBe('900');
    const [change] = (await admin.call('GET', `${LIMITS}/audit?limit=1`)).data;
    expect(change).toMatchObject({ actor: 'oidc:carol', target_id: limit.id, reason: 'until Friday' });
    expect(admin.audited.map(([event]) => event)).toEqual(['admin.increase_request.approve']);

    for (const how of ['approve', 'deny'] as const) {
      expect((await resolve(id, how, 'writer', { amount: '1' })).status).toBe(409);
    }
    expect((await admin.call('GET', `${LIMITS}/${limit.id}`)).body['amount']).toBe('900');
  });

  it('are resolved once when two decide at the same time', async () => {
    const { body } = await ask('alice', { period: 'weekly' });
    const answers = await Promise.all([
      ...['1', '2', '3'].map((amount) => resolve(body['id'], 'approve', 'writer', { amount })),
      resolve(body['id'], 'deny', 'writer'),
    ]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409, 409, 409]);
  });

  it('change nothing when they are denied', async () => {
    const revision = await admin.store.limits.revision();
    const [pending] = (await admin.call('GET', `${REQUESTS}?actor_ids[]=bob&status[]=pending`)).data;
    const { body } = await resolve(pending?.['id'], 'deny', 'writer');
    expect(body).toMatchObject({
      status: 'denied',
      resolved_by: { type: 'scoped_api_key_actor', scoped_api_key_id: 'tf' },
      approved_amount: null,
    });
    expect(body).not.toHaveProperty('spend_limit');
    expect(await admin.store.limits.revision()).toBe(revision);
    expect((await resolve('slir_none', 'deny', 'writer')).status).toBe(404);
  });

  it('can be granted for another period, and without a limit', async () => {
    const { body } = await ask('alice', { period: 'monthly' });
    const approved = await resolve(body['id'], 'approve', 'writer', {
      amount: null,
      period: 'daily',
      suppress_notification: true,
    });
    expect(approved.body).toMatchObject({
      period: 'monthly',
      approved_amount: null,
      spend_limit: { period: 'daily', amount: null },
    });
  });

  it('leave everything as it is when the own limit belongs to a custom resource', async () => {
    const { body } = await ask('bob', { period: 'daily' });
    const owner = { kind: 'SpendPolicy', namespace: 'claude', name: 'bob', uid: 'u2' };
    const content = {
      scope: { type: 'user' as const, user: 'bob' },
      period: 'daily' as const,
      unit: 'nano_usd' as const,
      sharing: 'per_member' as const,
      amount: 1n,
      mode: 'strict' as const,
      whenShort: 'refuse' as const,
      failurePolicy: null,
      timeZone: 'UTC',
      warnAtPercent: [],
      blockedMessage: null,
    };
    await admin.store.limits.replaceOwned(owner, 'bob', [content], admin.now);
    const { status, error } = await resolve(body['id'], 'approve', 'writer', { amount: '9' });
    expect(status).toBe(409);
    expect(error.message).toContain('SpendPolicy claude/bob');
    expect((await admin.call('GET', `${REQUESTS}/${String(body['id'])}`)).body['status']).toBe('pending');
  });
});
