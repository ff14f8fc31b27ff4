import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { startIdentityProvider, type RunningIdentityProvider } from '@claude-gateway/dev';
import { createLog } from '../../observe/log.ts';
import type { OidcProvider } from '../oidc/provider.ts';
import { createOidcProvider } from '../oidc/relying-party.ts';
import type { SignInProvider } from './dependencies.ts';
import {
  authorize,
  Browser,
  headingOf,
  startReplica,
  ticketOf,
  type Answer,
  type Replica,
} from './testing/harness.ts';
import { digest } from '../digest.ts';
import { useStores } from '../../testing/stores.ts';

const database = useStores();
let identityProvider: RunningIdentityProvider;
let provider: OidcProvider;
let replicas: readonly [Replica, Replica];
let browser: Browser;

beforeAll(async () => {
  const providers: SignInProvider[] = [];
  const first = await startReplica({ store: database.store, providers });
  // Both answer under one name, as behind a load balancer.
  const second = await startReplica({
    store: database.store,
    providers,
    settings: { publicUrl: first.origin },
  });
  replicas = [first, second];
  const redirectUri = `${first.origin}/oauth/callback`;
  identityProvider = await startIdentityProvider({
    clients: [{ client_id: 'gw', client_secret: 'gateway secret', redirect_uris: [redirectUri] }],
  });
  provider = await createOidcProvider(
    { issuer: identityProvider.issuer, client_id: 'gw', client_secret: 'gateway secret' },
    {
      id: 'main',
      redirectUri,
      allowLoopback: true,
      clock: () => new Date(),
      log: createLog('error', { write: () => undefined }),
    },
  );
  providers.push(provider);
});
afterAll(async () => {
  await Promise.all((replicas ?? []).map((replica) => replica.stop()));
  await provider?.close();
  await identityProvider?.stop();
});

let person = 0;
beforeEach(() => {
  browser = new Browser(`10.3.0.${++person}`);
});

/** Confirms a fresh code and gets as far as the identity provider's page. */
async function toIdentityProvider(from = browser): Promise<{ deviceCode: string; page: Answer; url: URL }> {
  const { json } = await authorize(replicas[0], '10.3.0.250');
  const confirm = await from.get(replicas[1].origin, `/device?user_code=${json['user_code']}`);
  expect(confirm.headers['content-security-policy']).toContain(
    `form-action 'self' ${identityProvider.issuer};`,
  );
  const redirect = await from.post(replicas[0].origin, '/device', { ticket: ticketOf(confirm) });
  const { answer, url } = await from.follow(replicas[0].origin, redirect, () => true);
  expect(answer.text).toContain('Who do you want to be?');
  return { deviceCode: json['device_code'] ?? '', page: answer, url };
}

/** Submits the identity provider's page. @returns the callback's path and query. */
async function answerIdentityProvider(
  { page, url }: { page: Answer; url: URL },
  form: Record<string, string>,
  from = browser,
): Promise<string> {
  const action = /action="([^"]+)"/.exec(page.text)?.[1] ?? '';
  const answer = await from.post(url.origin, new URL(action, url).pathname, form);
  const back = await from.follow(url.href, answer, (next) => next.pathname !== '/oauth/callback');
  expect(back.url.origin).toBe(replicas[0].origin);
  return back.url.pathname + back.url.search;
}

describe('sign-in at a real OpenID provider', () => {
  it('ends with the person whom the provider names, on whichever replica', async () => {
    const under = await toIdentityProvider();
    const callback = await answerIdentityProvider(under, { user: 'alice' });
    const done = await browser.get(replicas[1].origin, callback);
    expect([done.status, headingOf(done)]).toEqual([200, 'You are signed in']);
    expect(done.text).toContain('alice@corp.example');
    expect(await database.store.deviceGrants.poll(digest(under.deviceCode), new Date())).toMatchObject({
      state: 'approved',
      identity: { sub: 'main:alice', provider: 'main', groups: ['eng'] },
    });

    const replayed = await browser.get(replicas[0].origin, callback);
    expect([replayed.status, headingOf(replayed)]).toEqual([400, 'This sign-in link no longer works']);
  });

  it('is over when the person cancels there, and the code stays good', async () => {
    const under = await toIdentityProvider();
    const callback = await answerIdentityProvider(under, { action: 'cancel' });
    expect(callback).toContain('error=access_denied');
    const answer = await browser.get(replicas[1].origin, callback);
    expect([answer.status, headingOf(answer)]).toEqual([403, 'You were not signed in']);
    expect(answer.text).toMatch(/href="\/device\?user_code=/);
    expect(replicas[1].audited.at(-1)).toMatchObject({ evt: 'auth.denied', reason: 'idp_denied' });
    expect(await database.store.deviceGrants.poll(digest(under.deviceCode), new Date())).toMatchObject({
      state: 'authorization_pending',
    });
  });

  it('refuses an unverified address', async () => {
    const under = await toIdentityProvider();
    const callback = await answerIdentityProvider(under, { user: 'dave' });
    const answer = await browser.get(replicas[0].origin, callback);
    expect([answer.status, headingOf(answer)]).toEqual([403, 'You were not signed in']);
    expect(replicas[0].audited.at(-1)).toMatchObject({ evt: 'auth.denied', reason: 'email_unverified' });
  });

  it('does not take the code of one sign-in for another', async () => {
    const other = new Browser('10.3.0.200');
    const [own, foreign] = [await toIdentityProvider(), await toIdentityProvider(other)];
    const callback = queryOf(await answerIdentityProvider(own, { user: 'alice' }));
    const stolen = queryOf(await answerIdentityProvider(foreign, { user: 'bob' }, other));
    callback.set('code', stolen.get('code') ?? '');
    const answer = await browser.get(replicas[0].origin, `/oauth/callback?${callback.toString()}`);
    expect(answer.status).toBe(403);
    expect(await database.store.deviceGrants.poll(digest(own.deviceCode), new Date())).toMatchObject({
      state: 'authorization_pending',
    });
  });
});

function queryOf(path: string): URLSearchParams {
  return new URL(path, 'http://gateway.example').searchParams;
}
