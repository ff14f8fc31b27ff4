import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { decodeJwt } from 'jose';
import { DEVICE_CODE_GRANT } from './device-code-grant.ts';
import {
  signIn,
  startTokenServer,
  waitingDevice,
  type Answer,
  type TokenServer,
} from './testing/token-server.ts';
import { useStores } from '../../testing/stores.ts';

const database = useStores(2);
let replicas: TokenServer[];
let offset = 0;
const clock = (): Date => new Date(Date.now() + offset);

beforeEach(async () => {
  offset = 0;
  replicas = await Promise.all(database.stores.map((store) => startTokenServer({ store, clock })));
});
afterEach(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()));
});

function poll(deviceCode: string, replica = 0): Promise<Answer> {
  return replicas[replica]!.post('/oauth/token', { grant_type: DEVICE_CODE_GRANT, device_code: deviceCode });
}

function summary({ status, body }: Answer): unknown[] {
  return [status, body['error']];
}

/** Until the replica refuses the bearer. @returns how long that took, in ms. */
async function refusedAfter(replica: TokenServer, bearer: unknown): Promise<number> {
  const start = performance.now();
  for (;;) {
    const { status, headers } = await replica.use(bearer);
    if (status === 401) {
      expect(headers.get('x-should-retry')).toBe('false');
      return performance.now() - start;
    }
    expect(performance.now() - start).toBeLessThan(20_000);
    await sleep(10);
  }
}

describe('discovery', () => {
  it('names every endpoint on the public origin, whichever address it was asked at', async () => {
    const { status, body } = await replicas[0]!.get('/.well-known/oauth-authorization-server');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      issuer: 'https://gateway.corp.example',
      device_authorization_endpoint: 'https://gateway.corp.example/oauth/device_authorization',
      token_endpoint: 'https://gateway.corp.example/oauth/token',
      revocation_endpoint: 'https://gateway.corp.example/oauth/revoke',
      grant_types_supported: [DEVICE_CODE_GRANT, 'refresh_token'],
      token_endpoint_auth_methods_supported: ['none'],
      gateway_protocol_version: 1,
    });
    expect(body).not.toHaveProperty('authorization_endpoint');
  });
});

describe('device_code', () => {
  it('waits, is told to slow down, and then hands the session out once', async () => {
    const { deviceCode, grantId } = await waitingDevice(database.store, clock());
    expect(summary(await poll(deviceCode))).toEqual([400, 'authorization_pending']);
    expect(summary(await poll(deviceCode, 1))).toEqual([400, 'slow_down']);
    offset += 11_000;
    const identity = {
      sub: 'alice',
      provider: 'corp',
      email: 'Alice@corp.example',
      name: null,
      groups: ['eng'],
    };
    await database.store.deviceGrants.approve(grantId, identity, null, clock());
    const answers = await Promise.all([poll(deviceCode), poll(deviceCode, 1), poll(deviceCode)]);
    const [answer] = answers.filter(({ status }) => status === 200);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ body }) => body['error'] === 'expired_token')).toHaveLength(2);
    expect(answer?.headers.get('cache-control')).toBe('no-store');
    expect(decodeJwt(String(answer?.body['access_token']))).toMatchObject({ sub: 'alice', groups: ['eng'] });
    expect(replicas.flatMap(({ events }) => events)).toContainEqual({
      event: 'session.mint',
      fields: expect.objectContaining({
        result: 'success',
        sub: 'alice',
        client_ip: '127.0.0.1',
        ttl_hours: 1,
      }),
    });
  });

  it('gives a refresh token only if the identity provider gave one, and says who approved', async () => {
    const without = await signIn(replicas[0]!, database.store, {}, null);
    expect(without.body).toEqual({
      access_token: expect.any(String),
      token_type: 'Bearer',
      expires_in: 3600,
      email: 'alice@corp.example',
    });
    const withOne = await signIn(replicas[0]!, database.store, { email: null }, 'idp-token');
    expect(withOne.body).toEqual({
      access_token: expect.any(String),
      token_type: 'Bearer',
      expires_in: 3600,
      refresh_token: expect.stringMatching(/^cgr_/),
    });
  });

  it('tells denied, expired and unknown', async () => {
    const denied = await waitingDevice(database.store, clock());
    await database.store.deviceGrants.deny(denied.grantId, clock());
    expect(summary(await poll(denied.deviceCode))).toEqual([400, 'access_denied']);
    const expired = await waitingDevice(database.store, clock());
    offset += 600_000;
    expect(summary(await poll(expired.deviceCode))).toEqual([400, 'expired_token']);
    expect(summary(await poll('unknown'))).toEqual([400, 'expired_token']);
  });
});

describe('the token endpoint', () => {
  it.each<[string, string, number, string]>([
    ['no body', '', 400, 'unsupported_grant_type'],
    ['another grant', 'grant_type=password', 400, 'unsupported_grant_type'],
    ['an empty grant', 'grant_type=', 400, 'unsupported_grant_type'],
    ['no device code', `grant_type=${DEVICE_CODE_GRANT}`, 400, 'invalid_request'],
    [
      'a parameter twice',
      `grant_type=${DEVICE_CODE_GRANT}&device_code=a&device_code=a`,
      400,
      'invalid_request',
    ],
    [
      'unknown parameters',
      `grant_type=${DEVICE_CODE_GRANT}&device_code=a&client_id=x&y=`,
      400,
      'expired_token',
    ],
    [
      'an exchange nobody configured',
      'grant_type=urn:ietf:params:oauth:grant-type:token-exchange',
      400,
      'unsupported_grant_type',
    ],
    ['far too much', `grant_type=${'x'.repeat(70_000)}`, 413, 'invalid_request'],
  ])('answers %s', async (_what, body, status, error) => {
    const answer = await replicas[0]!.post('/oauth/token', body);
    expect(summary(answer)).toEqual([status, error]);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.body['error_description']).toEqual(expect.any(String));
  });

  it('reads forms only, by POST only', async () => {
    const json = await replicas[0]!.post('/oauth/token', '{"grant_type":"refresh_token"}', {
      'content-type': 'application/json',
    });
    expect(summary(json)).toEqual([400, 'invalid_request']);
    const got = await replicas[0]!.get('/oauth/token?grant_type=refresh_token');
    expect(summary(got)).toEqual([405, 'invalid_request']);
    const charset = await replicas[0]!.post('/oauth/token', `grant_type=${DEVICE_CODE_GRANT}&device_code=a`, {
      'content-type': 'Application/X-WWW-Form-urlencoded; charset=UTF-8',
    });
    expect(summary(charset)).toEqual([400, 'expired_token']);
  });

  it('survives whatever is sent to it', async () => {
    const names = ['grant_type', 'device_code', 'refresh_token', 'token', 'subject_token', '__proto__', ''];
    const types = ['refresh_token', DEVICE_CODE_GRANT, 'x', ''];
    const pick = <T>(list: readonly T[], byte = 0): T => list[byte % list.length]!;
    const bodies = [
      '%',
      '%00',
      '%C0%80',
      '&&&',
      '=',
      '=&=',
      '\u0000',
      'grant_type[]=refresh_token',
      '%ud800',
    ];
    for (let index = 0; index < 150; index++) {
      const noise = randomBytes(64);
      const value = noise.subarray(8, 8 + (noise[7]! % 50));
      const encoded =
        index % 2 === 0
          ? value.toString('latin1')
          : `%${value.toString('hex').match(/../g)?.join('%') ?? ''}`;
      bodies.push(
        `grant_type=${pick(types, noise[0])}&${pick(names, noise[1])}=${encoded}&${pick(names, noise[2])}=${encoded}`,
      );
    }
    for (const [index, body] of bodies.entries()) {
      for (const path of ['/oauth/token', '/oauth/revoke']) {
        const headers: Record<string, string> = index % 5 === 0 ? { 'content-encoding': 'gzip' } : {};
        const { status } = await replicas[0]!.post(path, body, headers);
        expect([body, status]).toEqual([body, expect.any(Number)]);
        expect(status).toBeLessThan(500);
      }
    }
    const compressed = await replicas[0]!.post('/oauth/token', 'x', { 'content-encoding': 'compress' });
    expect(summary(compressed)).toEqual([415, 'invalid_request']);
    expect(replicas[0]!.logged).toEqual([]);
  });
});

describe('POST /oauth/revoke', () => {
  it.each(['access_token', 'refresh_token'])(
    'signs out by %s on every replica within a second',
    async (kind) => {
      const { body } = await signIn(replicas[0]!, database.store, {}, 'idp-token');
      for (const replica of replicas) expect((await replica.use(body['access_token'])).status).toBe(200);
      const answer = await replicas[0]!.post('/oauth/revoke', {
        token: String(body[kind]),
        token_type_hint: kind,
      });
      expect([answer.status, answer.text]).toEqual([200, '']);
      expect((await replicas[0]!.use(body['access_token'])).status).toBe(401);
      expect(await refusedAfter(replicas[1]!, body['access_token'])).toBeLessThan(1000);
      const form = { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) };
      expect(summary(await replicas[1]!.post('/oauth/token', form))).toEqual([401, 'invalid_grant']);
      expect(replicas[0]!.events).toContainEqual({
        event: 'session.revoke',
        fields: expect.objectContaining({
          result: 'success',
          session_id: decodeJwt(String(body['access_token']))['sid'],
        }),
      });
    },
  );

  it('leaves other sessions of the same person alone', async () => {
    const first = await signIn(replicas[0]!, database.store, {}, 'idp-token');
    const second = await signIn(replicas[0]!, database.store, {}, 'idp-token');
    await replicas[0]!.post('/oauth/revoke', { token: String(first.body['access_token']) });
    expect((await replicas[0]!.use(second.body['access_token'])).status).toBe(200);
  });

  it('answers 200 to tokens that open nothing, whatever the hint', async () => {
    const { body } = await signIn(replicas[0]!, database.store, {}, null);
    const token = String(body['access_token']);
    for (const unknown of ['x', 'cgr_x', `${token.slice(0, -4)}AAAA`]) {
      expect(
        (await replicas[0]!.post('/oauth/revoke', { token: unknown, token_type_hint: 'nonsense' })).status,
      ).toBe(200);
    }
    expect((await replicas[0]!.use(token)).status).toBe(200);
    await replicas[0]!.post('/oauth/revoke', { token });
    expect((await replicas[0]!.post('/oauth/revoke', { token })).status).toBe(200);
    expect(summary(await replicas[0]!.post('/oauth/revoke', {}))).toEqual([400, 'invalid_request']);
  });
});

describe('with the store away', () => {
  it('asks clients to come back, and lets signed-in people work', async () => {
    const { body } = await signIn(replicas[0]!, database.store, {}, 'idp-token');
    await database.postgres.pause();
    try {
      for (const [path, form] of [
        ['/oauth/token', { grant_type: DEVICE_CODE_GRANT, device_code: 'x' }],
        ['/oauth/token', { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) }],
        ['/oauth/revoke', { token: String(body['access_token']) }],
        ['/oauth/revoke', { token: String(body['refresh_token']) }],
      ] as const) {
        const answer = await replicas[0]!.post(path, form);
        expect(summary(answer)).toEqual([503, 'temporarily_unavailable']);
        expect(answer.headers.get('retry-after')).toBe('5');
      }
      expect((await replicas[0]!.use(body['access_token'])).status).toBe(200);
    } finally {
      await database.postgres.restart();
      while (!database.stores.every(({ revocations }) => revocations.current)) await sleep(20);
    }
    const form = { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) };
    expect(summary(await replicas[0]!.post('/oauth/token', form))).toEqual([401, 'invalid_grant']);
  });
});
