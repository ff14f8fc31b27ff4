import { describe, expect, it } from '@jest/globals';
import { useAdminServer, type Caller } from './testing/admin-server.ts';

const LIMITS = '/v1/organizations/spend_limits';
const admin = useAdminServer();
const body = { scope: { type: 'organization' }, amount: '5', period: 'daily' };

describe('who may call the admin API', () => {
  it.each<[Caller, number, number]>([
    ['writer', 200, 200],
    ['reader', 200, 403],
    ['carol', 200, 200],
    ['alice', 401, 401],
    ['nobody', 401, 401],
  ])('%s: %i to read, %i to write', async (as, reading, writing) => {
    expect((await admin.call('GET', LIMITS, { as })).status).toBe(reading);
    expect((await admin.call('GET', `${LIMITS}/effective`, { as })).status).toBe(reading);
    expect((await admin.call('GET', `${LIMITS}/audit`, { as })).status).toBe(reading);
    expect((await admin.call('POST', LIMITS, { as, body })).status).toBe(writing);
    const path = `${LIMITS}/spl_00000000000000000000000000000000`;
    expect((await admin.call('DELETE', path, { as })).status).toBe(writing === 200 ? 404 : writing);
  });

  it('lets a wrong key open nothing, whatever comes with it', async () => {
    const headers = { 'x-api-key': 'a-key-of-at-least-thirty-two-characters-to-guess' };
    expect((await admin.call('GET', LIMITS, { as: 'carol', headers })).status).toBe(401);
    const path = '/v1/organizations/spend_limit_increase_requests';
    expect((await admin.call('GET', path, { as: 'alice', headers })).status).toBe(401);
  });

  it('takes the key and not the bearer when both come', async () => {
    const headers = { authorization: 'Bearer carol' };
    expect((await admin.call('POST', LIMITS, { as: 'reader', body, headers })).status).toBe(403);
  });

  it('takes the bearer when the key is empty', async () => {
    expect((await admin.call('GET', LIMITS, { as: 'carol', headers: { 'x-api-key': '' } })).status).toBe(200);
  });

  it('asks who calls before it says what there is', async () => {
    expect((await admin.call('PUT', `${LIMITS}/a/b`, { as: 'nobody' })).status).toBe(401);
    expect((await admin.call('PUT', `${LIMITS}/a/b`, { as: 'reader' })).status).toBe(404);
  });

  it('writes refusals down, without the key', async () => {
    await admin.call('GET', `${LIMITS}?q=secret`, { as: 'nobody' });
    await admin.call('GET', LIMITS, { as: 'nobody', headers: { 'x-api-key': 'wrong-key' } });
    await admin.call('GET', LIMITS, { as: 'nobody', headers: { authorization: 'Bearer forged' } });
    await admin.call('GET', LIMITS, { as: 'alice' });
    await admin.call('POST', LIMITS, { as: 'reader', body });
    expect(
      admin.audited.map(([event, { reason, actor, method, path }]) => [event, reason, actor, method, path]),
    ).toEqual([
      ['admin.denied', 'no_credentials', undefined, 'GET', LIMITS],
      ['admin.denied', 'invalid_key', undefined, 'GET', LIMITS],
      ['admin.denied', 'bearer_rejected', undefined, 'GET', LIMITS],
      ['admin.denied', 'not_an_admin', undefined, 'GET', LIMITS],
      ['admin.denied', 'read_only', 'admin-key:ro', 'POST', LIMITS],
    ]);
    expect(JSON.stringify(admin.audited)).not.toContain('wrong-key');
  });

  it('answers errors with the request id of the header, and nothing that may be kept', async () => {
    const { body: error, headers } = await admin.call('GET', LIMITS, { as: 'nobody' });
    expect(error).toEqual({
      type: 'error',
      error: { type: 'authentication_error', message: expect.any(String) as unknown },
      request_id: headers.get('request-id'),
    });
    expect(headers.get('cache-control')).toBe('no-store');
  });
});
