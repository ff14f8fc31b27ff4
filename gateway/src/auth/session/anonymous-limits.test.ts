import { afterEach, describe, expect, it } from '@jest/globals';
import { createSignInLimits } from '../limits/sign-in-limits.ts';
import { useStores } from '../../testing/stores.ts';
import { DEVICE_CODE_GRANT } from './device-code-grant.ts';
import {
  signIn,
  startTokenServer,
  waitingDevice,
  type Answer,
  type TokenServer,
} from './testing/token-server.ts';

const database = useStores();
let server: TokenServer | undefined;

afterEach(async () => {
  await server?.stop();
  server = undefined;
});

const MANY = Array.from({ length: 5000 }, (_, i) => `engineering-team-${i}`);

function summary({ status, body, headers }: Answer): unknown[] {
  return [status, body['error'], headers.get('retry-after')];
}

describe('one address that asks too often', () => {
  const moment = new Date();
  const limits = (max: number) =>
    createSignInLimits(
      {
        device_authorization: { max: 1, window_seconds: 60 },
        token: { max, window_seconds: 60 },
        sign_in_pages: { max: 1, window_seconds: 60 },
      },
      () => moment,
    );

  /** A store that must not be asked. */
  function unaskable<T extends object>(store: T): T {
    return new Proxy(store, {
      get(target, name) {
        const value = Reflect.get(target, name) as unknown;
        if (name === 'revocations') return value;
        return new Proxy(value as object, {
          get: (_, method) => () => {
            throw new Error(`the store was asked: ${String(name)}.${String(method)}`);
          },
        });
      },
    });
  }

  it('is refused in the words of the endpoint, before the store is asked', async () => {
    server = await startTokenServer({ store: unaskable(database.store), limits: limits(1) });
    // The only one that may ask, and finds that nobody may.
    expect((await server.post('/oauth/revoke', { token: 'x' })).status).toBe(500);

    const refused = [
      await server.post('/oauth/token', { grant_type: DEVICE_CODE_GRANT, device_code: 'x' }),
      await server.post('/oauth/token', { grant_type: 'refresh_token', refresh_token: 'x' }),
      await server.post('/oauth/revoke', { token: 'x' }),
    ];
    expect(refused.map(summary)).toEqual([
      [400, 'slow_down', '60'],
      [429, 'temporarily_unavailable', '60'],
      [429, 'temporarily_unavailable', '60'],
    ]);
    expect(server.events.map(({ event, fields }) => [event, fields['reason'], fields['path']])).toEqual([
      ['auth.denied', 'rate_limited', '/oauth/token'],
      ['auth.denied', 'rate_limited', '/oauth/token'],
      ['auth.denied', 'rate_limited', '/oauth/revoke'],
    ]);
    for (const { body, headers } of refused) {
      expect(body['error_description']).toContain('wait 60 s');
      expect(headers.get('cache-control')).toBe('no-store');
    }
  });

  it('may have hundreds of clients that poll', async () => {
    let offset = 0;
    const clock = (): Date => new Date(moment.getTime() + offset);
    const { store } = database;
    server = await startTokenServer({ store, clock });
    const codes = await Promise.all(
      Array.from({ length: 20 }, async () => (await waitingDevice(store, clock())).deviceCode),
    );
    // As often as 500 devices would in 10 s.
    let answers: Answer[] = [];
    for (let at = 0; at < 1000; at += 20) {
      offset += 200;
      answers = await Promise.all(
        codes.map((code) =>
          server!.post('/oauth/token', { grant_type: DEVICE_CODE_GRANT, device_code: `${code}${at}` }),
        ),
      );
      expect(answers.map(({ body }) => body['error'])).toEqual(Array<string>(20).fill('expired_token'));
    }
  });
});

describe('somebody in more groups than a token can name', () => {
  it('gets no session, and hears what to do', async () => {
    const { store } = database;
    server = await startTokenServer({ store });
    const answer = await signIn(server, store, { sub: 'in-many-groups', groups: MANY }, null);
    expect(answer.status).toBe(400);
    expect(answer.body['error']).toBe('access_denied');
    expect(answer.body['error_description']).toMatch(/5000 groups.*session\.groups: named.*groups_filter/);
    expect(server.events.map(({ event }) => event)).not.toContain('session.mint');
    expect(server.logged.join('')).toContain('oidc.groups_filter');
  });

  it('ends a session in words when the groups have become so many', async () => {
    const { store } = database;
    const identity = { sub: 'in-more-groups', provider: 'corp', email: null, name: null, groups: MANY };
    server = await startTokenServer({
      store,
      provider: { refresh: () => Promise.resolve({ identity, refreshToken: null }) },
    });
    const first = await signIn(
      server,
      store,
      { ...identity, groups: ['eng'] },
      'refresh token of the provider',
    );
    expect(first.status).toBe(200);
    const answer = await server.post('/oauth/token', {
      grant_type: 'refresh_token',
      refresh_token: String(first.body['refresh_token']),
    });
    expect([answer.status, answer.body['error']]).toEqual([401, 'invalid_grant']);
    expect(answer.body['error_description']).toContain('5000 groups');
    expect(server.events.at(-1)?.fields).toMatchObject({ result: 'denied', reason: 'too_many_groups' });
  });

  it('keeps a token that the listener accepts', async () => {
    const { store } = database;
    server = await startTokenServer({ store });
    const answer = await signIn(server, store, { sub: 'in-some-groups', groups: MANY.slice(0, 800) }, null);
    expect(answer.status).toBe(200);
    expect((await server.use(answer.body['access_token'])).status).toBe(200);
  });
});
