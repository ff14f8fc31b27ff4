import { describe, expect, it } from '@jest/globals';
import { useAdminServer } from './testing/admin-server.ts';

const LIMITS = '/v1/organizations/spend_limits';
const admin = useAdminServer();

const user = (name: string) => ({ type: 'user', user_id: name });
const group = (name: string) => ({ type: 'rbac_group', rbac_group_id: name });
const set = (body: Record<string, unknown>, headers: Record<string, string> = {}) =>
  admin.call('POST', LIMITS, { body: { period: 'daily', amount: '100', ...body }, headers });
const owner = { kind: 'SpendPolicy', namespace: 'claude', name: 'interns', uid: 'u1' };
const owned = (scope: { type: 'rbac_group'; group: string }) => ({
  scope,
  period: 'daily' as const,
  unit: 'nano_usd' as const,
  sharing: 'per_member' as const,
  amount: 10_000_000n,
  mode: 'bounded' as const,
  whenShort: 'refuse' as const,
  failurePolicy: 'closed' as const,
  timeZone: 'Europe/Berlin',
  warnAtPercent: [50],
  blockedMessage: 'ask your mentor',
});

describe('setting a limit', () => {
  it('answers in the shape of the reference, then with what is ours', async () => {
    const { status, body, headers } = await set({ scope: user('shape') });
    expect(status).toBe(200);
    expect(Object.keys(body)).toEqual([
      ...['type', 'id', 'created_at', 'updated_at', 'scope', 'amount', 'currency', 'period'],
      ...['unit', 'sharing', 'mode', 'when_short', 'failure_policy', 'time_zone', 'warn_at_percent'],
      ...['blocked_message', 'policy', 'owner', 'matched_principals'],
    ]);
    expect(body).toMatchObject({
      type: 'spend_limit',
      id: expect.stringMatching(/^spl_[0-9a-f]{32}$/) as unknown,
      scope: user('shape'),
      amount: '100',
      currency: 'USD',
      period: 'daily',
      unit: 'usd',
      sharing: 'per_member',
      mode: 'strict',
      time_zone: 'UTC',
      owner: null,
      matched_principals: 0,
    });
    expect(headers.get('etag')).toMatch(/^"[^"]+"$/);
    expect(admin.audited).toEqual([
      [
        'admin.limit.upsert',
        expect.objectContaining({
          actor: 'admin-key:tf',
          target: body['id'],
          amount: '100',
          scope: user('shape'),
        }),
      ],
    ]);
  });

  it('keeps id and settings of a limit that is set again by somebody who does not know them', async () => {
    const first = await set({
      scope: user('again'),
      mode: 'bounded',
      time_zone: 'Asia/Tokyo',
      warn_at_percent: [90, 10],
    });
    const second = await set({ scope: user('again'), amount: null });
    expect(second.body).toMatchObject({
      id: first.body['id'],
      created_at: first.body['created_at'],
      amount: null,
      mode: 'bounded',
      time_zone: 'Asia/Tokyo',
      warn_at_percent: [10, 90],
    });
  });

  it('keeps limits of tokens and pools beside those of dollars', async () => {
    const dollars = await set({ scope: group('beside') });
    const tokens = await set({ scope: group('beside'), unit: 'tokens', amount: '9007199254740993' });
    const pool = await set({ scope: group('beside'), sharing: 'pooled', amount: '7' });
    expect(new Set([dollars, tokens, pool].map(({ body }) => body['id'])).size).toBe(3);
    expect(tokens.body).toMatchObject({ unit: 'tokens', amount: '9007199254740993', currency: null });
    expect(pool.body).toMatchObject({ sharing: 'pooled', amount: '7', period_to_date_spend: '0' });
  });

  it('says whether it has matched anybody, by subject or by address', async () => {
    const email = 'Ada@Corp.example';
    const before = await set({ scope: user('ada@CORP.example') });
    expect(before.body).toMatchObject({ matched_principals: 0, scope: user('ada@corp.example') });
    const seenAt = admin.now;
    await admin.store.usage.touch([
      { sub: 'sub-1', kind: 'user', email, name: 'Ada', groups: ['labs'], seenAt },
    ]);
    const path = `${LIMITS}/${String(before.body['id'])}`;
    expect((await admin.call('GET', path)).body['matched_principals']).toBe(1);
    expect((await set({ scope: group('labs') })).body['matched_principals']).toBe(1);
  });

  it.each<[string, Record<string, unknown>]>([
    ['unit', { unit: 'euros' }],
    ['sharing', { sharing: 'pooled', scope: user('x') }],
    ['mode', { mode: 'lenient' }],
    ['when_short', { when_short: null }],
    ['failure_policy', { failure_policy: 'maybe' }],
    ['time_zone', { time_zone: 'Mars/Olympus' }],
    ['time_zone', { time_zone: '+02:00' }],
    ['warn_at_percent', { warn_at_percent: [0] }],
    ['warn_at_percent', { warn_at_percent: [50.5] }],
    ['blocked_message', { blocked_message: 'x'.repeat(501) }],
    ['reason', { reason: 7 }],
    ['amount', { unit: 'tokens', amount: '9223372036854775808' }],
    ['scope.user_id', { scope: user('x'.repeat(1025)) }],
    ['pooled_budget', { unit: 'tokens', period: 'monthly', pooled_budget: { amount: '5' } }],
  ])('refuses a wrong %s by name', async (field, wrong) => {
    const { status, error } = await set({ scope: group('wrong'), ...wrong });
    expect([status, error.type]).toEqual([400, 'invalid_request_error']);
    expect(error.message).toMatch(new RegExp(`^${field.replace('.', '\\.')}: `));
    expect(admin.audited).toEqual([]);
  });
});

describe('entity tags', () => {
  it('writes only over the version that the caller has seen', async () => {
    const first = await set({ scope: user('tagged') });
    const seen = first.headers.get('etag') ?? '';
    expect((await set({ scope: user('tagged'), amount: '1' }, { 'if-match': seen })).status).toBe(200);
    const late = await set({ scope: user('tagged'), amount: '2' }, { 'if-match': seen });
    expect([late.status, late.error.type]).toEqual([412, 'invalid_request_error']);
    const path = `${LIMITS}/${String(first.body['id'])}`;
    const now = await admin.call('GET', path);
    expect(now.body['amount']).toBe('1');
    expect(
      (await set({ scope: user('tagged') }, { 'if-match': `W/${now.headers.get('etag')}` })).status,
    ).toBe(412);
    expect(
      (await set({ scope: user('tagged') }, { 'if-match': `${seen}, ${now.headers.get('etag')}` })).status,
    ).toBe(200);
    expect((await set({ scope: user('tagged'), amount: '4' }, { 'if-match': '*' })).status).toBe(200);
    expect((await admin.call('DELETE', path, { headers: { 'if-match': seen } })).status).toBe(412);
    expect((await admin.call('DELETE', path, { headers: { 'if-match': '*' } })).status).toBe(200);
    expect((await set({ scope: user('tagged') }, { 'if-match': '*' })).status).toBe(412);
  });

  it('creates only what is not there yet, when asked to', async () => {
    const headers = { 'if-none-match': '*' };
    expect((await set({ scope: user('once') }, headers)).status).toBe(200);
    expect((await set({ scope: user('once') }, headers)).status).toBe(412);
    expect((await set({ scope: user('once') }, { 'if-none-match': '"x"' })).status).toBe(400);
  });

  it('spares readers what they have', async () => {
    const { body, headers } = await set({ scope: user('spared') });
    const etag = headers.get('etag') ?? '';
    const path = `${LIMITS}/${String(body['id'])}`;
    expect((await admin.call('GET', path, { headers: { 'if-none-match': etag } })).status).toBe(304);
    await set({ scope: user('spared'), amount: '3' });
    expect((await admin.call('GET', path, { headers: { 'if-none-match': etag } })).status).toBe(200);
  });

  it('loses no setting when several write at once', async () => {
    await set({ scope: user('busy') });
    const writes = [{ mode: 'postpaid' }, { time_zone: 'Asia/Tokyo' }, { blocked_message: 'hello' }];
    const answers = await Promise.all(writes.map((write) => set({ scope: user('busy'), ...write })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect((await set({ scope: user('busy') })).body).toMatchObject({
      mode: 'postpaid',
      time_zone: 'Asia/Tokyo',
      blocked_message: 'hello',
    });
  });
});

describe('the pool beside the monthly limit of a group', () => {
  const monthly = { scope: group('pooled'), period: 'monthly' };

  it('is set, shown and deleted with it, as in the reference', async () => {
    const { body } = await set({ ...monthly, pooled_budget: { amount: '900' } });
    const pool = body['pooled_budget'] as Record<string, unknown>;
    expect(pool).toEqual({
      amount: '900',
      paused: false,
      currency: 'USD',
      period_to_date_spend: '0',
      spend_limit_id: expect.stringMatching(/^spl_/) as unknown,
    });
    expect((await set(monthly)).body['pooled_budget']).toEqual(pool);
    const own = await admin.call('GET', `${LIMITS}/${String(pool['spend_limit_id'])}`);
    expect(own.body).toMatchObject({ sharing: 'pooled', amount: '900', scope: group('pooled') });
    await admin.call('DELETE', `${LIMITS}/${String(body['id'])}`);
    expect((await admin.call('GET', `${LIMITS}/${String(pool['spend_limit_id'])}`)).status).toBe(404);
  });

  it('goes alone', async () => {
    await set({ ...monthly, pooled_budget: { amount: '900' } });
    const { body } = await set({ ...monthly, pooled_budget: { amount: null, paused: true } });
    expect(body['pooled_budget']).toBeNull();
  });
});

describe('the list', () => {
  it('shows clients of the reference what they understand, and the rest to those who ask', async () => {
    const scope = group('listed');
    const classic = await set({ scope });
    const pool = await set({ scope, sharing: 'pooled' });
    const tokens = await set({ scope, unit: 'tokens' });
    const idsOf = async (query: string) =>
      (
        await admin.call('GET', `${LIMITS}?limit=1000&after_id=${String(classic.body['id'])}${query}`)
      ).data.map(({ id }) => id);
    expect(await idsOf('')).toEqual([]);
    expect(await idsOf('&include[]=pools')).toEqual([pool.body['id']]);
    expect(await idsOf('&include[]=pools&include[]=tokens')).toEqual([pool.body['id'], tokens.body['id']]);
    expect((await admin.call('GET', `${LIMITS}?include[]=everything`)).status).toBe(400);
  });

  it('reads forward and backward, whatever is deleted meanwhile', async () => {
    const ids: string[] = [];
    for (const name of ['p1', 'p2', 'p3', 'p4'])
      ids.push(String((await set({ scope: user(name) })).body['id']));
    const page = async (query: string) => {
      const { body, data } = await admin.call('GET', `${LIMITS}?${query}`);
      return [data.map(({ id }) => id), body['has_more'], body['first_id'], body['last_id']];
    };
    expect(await page(`limit=2&after_id=${ids[0]}`)).toEqual([[ids[1], ids[2]], true, ids[1], ids[2]]);
    expect(await page(`limit=2&before_id=${ids[3]}`)).toEqual([[ids[1], ids[2]], true, ids[1], ids[2]]);
    await admin.call('DELETE', `${LIMITS}/${ids[1]}`);
    expect(await page(`limit=2&after_id=${ids[0]}`)).toEqual([[ids[2], ids[3]], false, ids[2], ids[3]]);
    expect(await page(`after_id=${ids[3]}`)).toEqual([[], false, null, null]);
  });
});

describe('limits of custom resources', () => {
  it('are shown with their owner, and written there alone', async () => {
    const scope = { type: 'rbac_group' as const, group: 'interns' };
    await admin.store.limits.replaceOwned(owner, 'interns', [owned(scope)], admin.now);
    const limit = (await admin.store.limits.readAll()).limits.find(
      ({ policyName }) => policyName === 'interns',
    );
    const path = `${LIMITS}/${limit?.id}`;
    expect((await admin.call('GET', path)).body).toMatchObject({
      amount: '1',
      mode: 'bounded',
      policy: 'interns',
      owner: { kind: 'SpendPolicy', namespace: 'claude', name: 'interns' },
    });
    for (const refused of [await set({ scope: group('interns') }), await admin.call('DELETE', path)]) {
      expect([refused.status, refused.error.type]).toEqual([409, 'invalid_request_error']);
      expect(refused.error.message).toContain('SpendPolicy claude/interns');
    }
    expect((await admin.call('GET', path)).status).toBe(200);
    expect(admin.audited).toEqual([]);
  });
});

describe('the trail', () => {
  it('has every change with who, before, after and why', async () => {
    const { body } = await admin.call('POST', LIMITS, {
      as: 'carol',
      body: { scope: user('trail'), amount: '5', period: 'weekly', reason: 'a new project' },
    });
    await admin.call('DELETE', `${LIMITS}/${String(body['id'])}`, { body: { reason: 'it is over' } });
    const { data } = await admin.call('GET', `${LIMITS}/audit?limit=2`);
    const snapshot = expect.objectContaining({
      id: body['id'],
      scope: user('trail'),
      amount: '5',
      currency: 'USD',
    });
    expect(data).toEqual([
      {
        type: 'audit_event',
        id: expect.stringMatching(/^[0-9]+$/) as unknown,
        created_at: admin.now.toISOString(),
        actor: 'admin-key:tf',
        action: 'spend_limit.delete',
        target_id: body['id'],
        before: snapshot,
        after: null,
        reason: 'it is over',
      },
      expect.objectContaining({
        actor: 'oidc:carol',
        action: 'spend_limit.upsert',
        before: null,
        after: snapshot,
        reason: 'a new project',
      }),
    ]);
    const next = await admin.call('GET', `${LIMITS}/audit?limit=1&after_id=${String(data[0]?.['id'])}`);
    expect(next.data).toEqual([data[1]]);
  });
});
