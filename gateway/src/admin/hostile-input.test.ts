import { describe, expect, it } from '@jest/globals';
import { INCREASE_REQUESTS_PATH, LIMITS_PATH } from './paths.ts';
import { useAdminServer } from './testing/admin-server.ts';

const admin = useAdminServer();

const encoded = (text: string): string => Buffer.from(text).toString('base64url');
const stateOf = (value: unknown): string => encoded(JSON.stringify(value));

describe('a cursor that is not one of ours', () => {
  const FORGED = [
    'x',
    '%00',
    'a'.repeat(10_000),
    encoded('null'),
    encoded('[]'),
    encoded('{'),
    encoded('['.repeat(5_000)),
    stateOf({}),
    stateOf({ p: 1 }),
    stateOf({ p: '' }),
    stateOf({ p: 'a\0b' }),
    encoded('{"p":"\\ud800"}'),
    encoded('{"p":"a","p":"b"}'),
    encoded('{ "p": "a" }'),
    `${stateOf({ p: 'a' })}=`,
    encoded('{"__proto__":{"p":"a"}}'),
    stateOf({ p: 'a', x: 'b' }),
    stateOf({ r: 'slir_1' }),
    stateOf({ p: 'a'.repeat(1025) }),
  ];
  const SORTED = [
    ...FORGED,
    stateOf({ p: 'a' }),
    stateOf({ p: 'a', s: '-1' }),
    stateOf({ p: 'a', s: '01' }),
    stateOf({ p: 'a', s: '1e3' }),
    stateOf({ p: 'a', s: '9223372036854775808' }),
    stateOf({ p: 'a', s: '9'.repeat(30) }),
    stateOf({ p: 'a', s: 1 }),
  ];
  const REQUESTS = [
    ...FORGED,
    stateOf({ r: '' }),
    stateOf({ r: 'x' }),
    stateOf({ r: '-1' }),
    stateOf({ r: '1e3' }),
    stateOf({ r: '1 OR 1=1' }),
    stateOf({ r: '9'.repeat(19) }),
    stateOf({ r: 1 }),
  ];
  const ask = (path: string) => admin.call('GET', path, { as: 'reader' });

  it.each([
    ['people', `${LIMITS_PATH}/effective?page=`, FORGED],
    ['biggest spenders', `${LIMITS_PATH}/effective?sort=spend_desc&period[]=daily&page=`, SORTED],
    ['requests for more', `${INCREASE_REQUESTS_PATH}?page=`, REQUESTS],
  ])('of %s: 400 that names it', async (_, path, tokens) => {
    for (const token of tokens) {
      const { status, error } = await ask(path + token);
      expect([token.slice(0, 60), status]).toEqual([token.slice(0, 60), 400]);
      expect(error).toMatchObject({ message: expect.stringContaining('page') });
    }
  });

  it('of the audit and of limits: 400', async () => {
    for (const id of ['x', '-1', '1e3', '9'.repeat(19), '%00', '%ED%A0%80']) {
      expect([id, (await ask(`${LIMITS_PATH}/audit?after_id=${id}`)).status]).toEqual([id, 400]);
      expect([id, (await ask(`${LIMITS_PATH}?after_id=${id}`)).status]).toEqual([id, 400]);
      expect([id, (await ask(`${LIMITS_PATH}?before_id=${id}`)).status]).toEqual([id, 400]);
    }
  });

  it('whose row is gone is no error', async () => {
    expect((await ask(`${LIMITS_PATH}/effective?page=${stateOf({ p: 'nobody' })}`)).status).toBe(200);
    expect((await ask(`${INCREASE_REQUESTS_PATH}?page=${stateOf({ r: '1' })}`)).status).toBe(200);
  });
});

describe('a number of rows', () => {
  it.each(['0', '-1', '1e9', '1.5', '1001', '9'.repeat(400), 'NaN', 'Infinity', '1n', ''])(
    '%j is refused',
    async (limit) => {
      for (const path of [LIMITS_PATH, `${LIMITS_PATH}/effective`, `${LIMITS_PATH}/audit`]) {
        const { status, error } = await admin.call('GET', `${path}?limit=${encodeURIComponent(limit)}`);
        expect([path, status]).toEqual([path, 400]);
        expect(error).toMatchObject({ message: expect.stringMatching(/^limit: /) });
      }
    },
  );
});

describe('text that PostgreSQL cannot keep', () => {
  const BAD = ['a\\u0000b', 'a\\ud800b', '\\udc00'];
  const limit = (members: string): string =>
    `{"scope":{"type":"user","user_id":"ann"},"amount":"100",${members}}`;

  it.each(BAD)('%s is refused in every text of a body, by the name of the field', async (text) => {
    for (const [field, body] of [
      ['scope.user_id', `{"scope":{"type":"user","user_id":"${text}"},"amount":"100"}`],
      ['scope.rbac_group_id', `{"scope":{"type":"rbac_group","rbac_group_id":"${text}"},"amount":"100"}`],
      ['reason', limit(`"reason":"${text}"`)],
      ['blocked_message', limit(`"blocked_message":"${text}"`)],
      ['time_zone', limit(`"time_zone":"${text}"`)],
      ['amount', `{"scope":{"type":"user","user_id":"ann"},"amount":"${text}"}`],
      ['period', limit(`"period":"${text}"`)],
    ]) {
      const { status, error } = await admin.call('POST', LIMITS_PATH, { body });
      expect([field, status]).toEqual([field, 400]);
      expect(error).toMatchObject({ message: expect.stringContaining(`${field}: `) });
    }
  });

  it('is refused in a request for more, and in what is said of one', async () => {
    const post = (path: string, body: string, as: 'alice' | 'writer') =>
      admin.call('POST', path, { as, body });
    const asked = await admin.call('POST', INCREASE_REQUESTS_PATH, {
      as: 'alice',
      body: { period: 'daily' },
    });
    expect(asked.status).toBe(200);
    for (const text of BAD) {
      expect((await post(INCREASE_REQUESTS_PATH, `{"reason":"${text}"}`, 'alice')).status).toBe(400);
      const one = `${INCREASE_REQUESTS_PATH}/${String(asked.body['id'])}`;
      expect((await post(`${one}/deny`, `{"note":"${text}"}`, 'writer')).status).toBe(400);
      expect((await post(`${one}/approve`, `{"amount":"1","note":"${text}"}`, 'writer')).status).toBe(400);
    }
  });

  it.each(['q', 'user_ids[]', 'page', 'period[]', 'sort'])('is refused in a query: %s', async (name) => {
    const { status, error } = await admin.call('GET', `${LIMITS_PATH}/effective?${name}=a%00b`);
    expect(status).toBe(400);
    expect(error).toMatchObject({ message: expect.stringContaining(name) });
  });

  it.each(['actor_ids[]', 'status[]', 'page'])('is refused in a query about requests: %s', async (name) => {
    expect((await admin.call('GET', `${INCREASE_REQUESTS_PATH}?${name}=a%00b`)).status).toBe(400);
  });
});

describe('a body of another kind', () => {
  const post = (body: string, type = 'application/json') =>
    admin.call('POST', LIMITS_PATH, { body, headers: { 'content-type': type } });

  it.each([
    ['empty', ''],
    ['no JSON', 'scope=x'],
    ['a number', '1e999'],
    ['a list', '[]'],
    ['deep', `${'['.repeat(200_000)}${']'.repeat(200_000)}`],
    ['deep in a member', `{"scope":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}`],
    ['names of prototypes', '{"__proto__":{"scope":{"type":"organization"}},"constructor":1,"amount":"1"}'],
    ['a scope that is a prototype', '{"scope":{"type":"__proto__"},"amount":"1"}'],
    ['a unit that is one', '{"scope":{"type":"organization"},"unit":"constructor","amount":"1"}'],
    ['no amount', '{"scope":{"type":"organization"}}'],
    ['a number as amount', '{"scope":{"type":"organization"},"amount":1e308}'],
    ['an amount beyond what is counted', '{"scope":{"type":"organization"},"amount":"922337203686"}'],
    ['a long amount', `{"scope":{"type":"organization"},"amount":"${'9'.repeat(5000)}"}`],
  ])('%s: 400', async (_, body) => {
    expect((await post(body)).status).toBe(400);
  });

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'application/json; charset=utf-7',
  ])('is read as JSON whatever it says it is: %s', async (type) => {
    expect((await post('{"scope":{"type":"organization"}}', type)).status).toBe(400);
    expect((await post('{"scope":{"type":"user","user_id":"typed"},"amount":"1"}', type)).status).toBe(200);
  });

  it('that is compressed, and not what it says, is 400; in another coding 415', async () => {
    const send = (coding: string) =>
      admin.call('POST', LIMITS_PATH, { body: 'x', headers: { 'content-encoding': coding } });
    expect((await send('gzip')).status).toBe(400);
    expect((await send('wonders')).status).toBe(415);
  });

  it('has members that nobody knows: they are left alone', async () => {
    const { status, body } = await post(
      '{"scope":{"type":"user","user_id":"more"},"amount":"1","unheard_of":{"a":[1]}}',
    );
    expect(status).toBe(200);
    expect(JSON.stringify(body)).not.toContain('unheard_of');
  });
});
