import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { startIdentityProvider, type RunningIdentityProvider } from '@claude-gateway/dev';
import { decodeJwt } from 'jose';
import { createLog } from '../../observe/log.ts';
import type { OidcProvider } from '../oidc/provider.ts';
import { createOidcProvider } from '../oidc/relying-party.ts';
import { signInAtProvider } from './testing/idp-sign-in.ts';
import { digest } from '../digest.ts';
import { SECRET, signIn, startTokenServer, type Answer, type TokenServer } from './testing/token-server.ts';
import { useStores } from '../../testing/stores.ts';

const CLIENT = { client_id: 'gw', client_secret: 'client-secret-client-secret-client-secret' };
const REDIRECT_URI = 'https://gateway.corp.example/oauth/callback';

let idp: RunningIdentityProvider;
let provider: OidcProvider;
let idpIsBack: () => Promise<void>;
const database = useStores(2);
let replicas: TokenServer[];
let offset = 0;

const clock = (): Date => new Date(Date.now() + offset);
const log = createLog('error');

async function startIdp(port?: number): Promise<RunningIdentityProvider> {
  return startIdentityProvider({
    ...(port === undefined ? {} : { port }),
    clients: [{ ...CLIENT, redirect_uris: [REDIRECT_URI] }],
  });
}

async function connectProvider(secret = CLIENT.client_secret): Promise<OidcProvider> {
  const settings = { issuer: idp.issuer, client_id: CLIENT.client_id, client_secret: secret };
  return createOidcProvider(settings, {
    id: 'corp',
    redirectUri: REDIRECT_URI,
    allowLoopback: true,
    clock: () => new Date(),
    log,
    retry: { attempts: 1, delayMs: 0 },
  });
}

beforeEach(async () => {
  offset = 0;
  idp = await startIdp();
  idpIsBack = async () => {
    idp = await startIdp(idp.port);
  };
  provider = await connectProvider();
  replicas = await Promise.all(database.stores.map((store) => startTokenServer({ store, provider, clock })));
});
afterEach(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()));
  await provider.close();
  await idp.stop();
});

async function begin(user = 'alice'): Promise<Answer> {
  const signedIn = await signInAtProvider(provider, user);
  return signIn(replicas[0]!, database.store, signedIn.identity, signedIn.refreshToken);
}

function refresh(token: unknown, replica = 0): Promise<Answer> {
  return replicas[replica]!.post('/oauth/token', {
    grant_type: 'refresh_token',
    refresh_token: String(token),
  });
}

function refused(answer: Answer): void {
  expect([answer.status, answer.body['error']]).toEqual([401, 'invalid_grant']);
}

describe('refresh_token', () => {
  it('rotates, again and again, on any replica', async () => {
    let answer = await begin();
    const seen = new Set<unknown>();
    for (let round = 0; round < 4; round++) {
      seen.add(answer.body['refresh_token']);
      offset += 1800_000;
      answer = await refresh(answer.body['refresh_token'], round % 2);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expect(answer.body).toMatchObject({ token_type: 'Bearer', expires_in: 3600 });
      expect((await replicas[0]!.use(answer.body['access_token'])).body).toMatchObject({ sub: 'corp:alice' });
    }
    expect(seen.size).toBe(4);
  });

  it('carries what the identity provider says now', async () => {
    const first = await begin();
    const before = decodeJwt(String(first.body['access_token']));
    idp.updateUser('alice', { groups: ['ops'], email: 'alice@new.example' });
    const second = await refresh(first.body['refresh_token']);
    expect(decodeJwt(String(second.body['access_token']))).toMatchObject({
      sub: 'corp:alice',
      sid: before['sid'],
      groups: ['ops'],
      email: 'alice@new.example',
    });
    expect(before['groups']).toEqual(['eng']);
  });

  it('puts a disabled user out, with the bearer that has not expired', async () => {
    const first = await begin();
    idp.disableUser('alice');
    refused(await refresh(first.body['refresh_token']));
    const denied = await replicas[0]!.use(first.body['access_token']);
    expect([denied.status, denied.headers.get('x-should-retry')]).toEqual([401, 'false']);
    idp.enableUser('alice');
    refused(await refresh(first.body['refresh_token']));
    expect(replicas[0]!.events).toContainEqual({
      event: 'session.refresh',
      fields: expect.objectContaining({ result: 'denied', sub: 'corp:alice', client_ip: '127.0.0.1' }),
    });
  });

  it('keeps the session while the identity provider is away', async () => {
    const first = await begin();
    const { port } = idp;
    await idp.stop();
    const away = await refresh(first.body['refresh_token']);
    expect([away.status, away.body['error']]).toEqual([503, 'temporarily_unavailable']);
    expect(Number(away.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await replicas[1]!.use(first.body['access_token'])).status).toBe(200);
    // It comes back without its memory; what matters is that it is asked again at once.
    await idpIsBack();
    expect(idp.port).toBe(port);
    refused(await refresh(first.body['refresh_token']));
  });

  it('does not sign people out over a broken client secret of ours', async () => {
    const first = await begin();
    const misconfigured = await connectProvider('wrong-secret-wrong-secret-wrong-secret-1');
    const broken = await startTokenServer({ store: database.store, provider: misconfigured, clock });
    const form = { grant_type: 'refresh_token', refresh_token: String(first.body['refresh_token']) };
    expect((await broken.post('/oauth/token', form)).status).toBe(503);
    await broken.stop();
    await misconfigured.close();
    expect((await refresh(first.body['refresh_token'])).status).toBe(200);
  });

  it('gives processes that refresh at the same moment the same new token, whichever replicas they ask', async () => {
    const first = await begin();
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) => refresh(first.body['refresh_token'], index % 2)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 200));
    expect(new Set(answers.map(({ body }) => body['refresh_token'])).size).toBe(1);
    // The provider rotates too and ends a grant whose token comes back: it was asked once, and lives.
    offset += 60_000;
    expect((await refresh(answers[0]!.body['refresh_token'], 1)).status).toBe(200);
  });

  it('leads a process that comes minutes after another one to the same token, and no further than the provider vouched', async () => {
    const first = await begin();
    const second = await refresh(first.body['refresh_token']);
    offset += 20 * 60_000;
    const other = await refresh(first.body['refresh_token'], 1);
    expect([other.status, other.body['refresh_token']]).toEqual([200, second.body['refresh_token']]);
    expect(other.body['expires_in']).toBeLessThanOrEqual(40 * 60);
    expect(other.body['expires_in']).toBeGreaterThan(30 * 60);
    // Nearly an hour after the provider was asked: it is asked again, and a disabled account ends here.
    offset += 38 * 60_000;
    const third = await refresh(first.body['refresh_token']);
    expect(third.body).toMatchObject({ expires_in: 3600 });
    expect(third.body['refresh_token']).not.toBe(second.body['refresh_token']);
    idp.disableUser('alice');
    offset += 58 * 60_000;
    refused(await refresh(second.body['refresh_token']));
    expect((await replicas[0]!.use(third.body['access_token'])).status).toBe(401);
  });

  it('refuses a token that was replaced long ago, and leaves the session to the process that has the newest', async () => {
    const first = await begin();
    const second = await refresh(first.body['refresh_token']);
    offset += 71 * 60_000;
    const third = await refresh(second.body['refresh_token'], 1);
    refused(await refresh(first.body['refresh_token']));
    expect(replicas[0]!.events.at(-1)).toEqual({
      event: 'session.refresh',
      fields: expect.objectContaining({ result: 'denied', reason: 'stale', sub: 'corp:alice' }),
    });
    expect((await replicas[0]!.use(third.body['access_token'])).status).toBe(200);
    expect((await refresh(third.body['refresh_token'])).status).toBe(200);
  });

  it('signs nobody out while eight processes refresh over three lifetimes, each with what it knows', async () => {
    const first = await begin();
    // What the client does (2.1.332): each process holds its own copy, all share one store, a refusal adopts what
    // another has stored, and so does an answer when another has stored something else meanwhile.
    let stored = first;
    const held = Array.from({ length: 8 }, () => first);
    for (let minute = 5; minute <= 200; minute += 5) {
      offset += 5 * 60_000;
      // Some have something to send every few minutes, and some hours later.
      for (const [process, holding] of held.entries()) {
        if (minute % (5 * (1 + process * 3)) !== 0) continue;
        const { exp = 0 } = decodeJwt(String(holding.body['access_token']));
        if (exp * 1000 - clock().getTime() < 300_000) {
          const answer = await refresh(holding.body['refresh_token'], process % 2);
          const isMine = stored.body['refresh_token'] === holding.body['refresh_token'];
          if (answer.status !== 200) refused(answer);
          else if (isMine) stored = answer;
          held[process] = stored;
        }
        expect((await replicas[0]!.use(held[process]?.body['access_token'])).status).toBe(200);
      }
    }
    expect(replicas.flatMap(({ events }) => events).map(({ event }) => event)).not.toContain(
      'session.revoke',
    );
  });

  it('ends the session when another program brings an old token from another network', async () => {
    const first = await begin();
    const form = { grant_type: 'refresh_token', refresh_token: String(first.body['refresh_token']) };
    const laptop = { 'user-agent': 'claude-code/2.1.332' };
    const second = await replicas[0]!.post('/oauth/token', form, laptop);
    // The address cannot be chosen on loopback: somebody else is written into the store instead.
    await database.store.sessions.claimRefresh(digest(form.refresh_token), {
      now: clock(),
      graceMs: 1,
      leaseMs: 1,
      by: { network: '203.0.113.9', program: 'curl' },
    });
    const denied = await refresh(second.body['refresh_token']);
    refused(denied);
    expect(denied.body['error_description']).toMatch(/for your safety.*two places/);
    const { status, text } = await replicas[0]!.use(second.body['access_token']);
    expect([status, text]).toEqual([401, expect.stringMatching(/for your safety.*two places/)]);
  });

  it('leads an earlier token to the newest one while its own grace lasts', async () => {
    const first = await begin();
    const second = await refresh(first.body['refresh_token']);
    const third = await refresh(second.body['refresh_token']);
    const again = await refresh(first.body['refresh_token'], 1);
    expect(again.body['refresh_token']).toBe(third.body['refresh_token']);
  });

  it('goes on with a new secret while the old one is still listed', async () => {
    const first = await begin();
    const second = await refresh(first.body['refresh_token']);
    const secrets = ['a-brand-new-secret-of-32-bytes-or-more', SECRET];
    const rotated = await startTokenServer({ store: database.store, provider, clock, secrets });
    const ask = (token: unknown): Promise<Answer> =>
      rotated.post('/oauth/token', { grant_type: 'refresh_token', refresh_token: String(token) });
    expect((await ask(first.body['refresh_token'])).body['refresh_token']).toBe(second.body['refresh_token']);
    const third = await ask(second.body['refresh_token']);
    expect(third.status).toBe(200);
    expect((await rotated.use(first.body['access_token'])).status).toBe(200);
    // A replica that does not know the new secret cannot tell the newest token: it says so, and ends nothing.
    expect((await refresh(second.body['refresh_token'])).status).toBe(503);
    expect((await ask(third.body['refresh_token'])).status).toBe(200);
    await rotated.stop();
  });

  it('ends with the provider that the configuration no longer has', async () => {
    const first = await begin();
    const without = await startTokenServer({ store: database.store, provider: undefined, clock });
    const form = { grant_type: 'refresh_token', refresh_token: String(first.body['refresh_token']) };
    refused(await without.post('/oauth/token', form));
    await without.stop();
  });

  it('refuses what it never issued', async () => {
    for (const token of ['x', 'cgr_x', `cgr_${'A'.repeat(43)}`, '\u0000', '😀'])
      refused(await refresh(token));
    const missing = await replicas[0]!.post('/oauth/token', { grant_type: 'refresh_token' });
    expect([missing.status, missing.body['error']]).toEqual([400, 'invalid_request']);
  });

  it('writes no token down', async () => {
    const first = await begin();
    const second = await refresh(first.body['refresh_token']);
    const written = JSON.stringify(replicas.map(({ events, logged }) => ({ events, logged })));
    for (const { body } of [first, second]) {
      expect(written).not.toContain(body['refresh_token']);
      expect(written).not.toContain(body['access_token']);
    }
  });
});
