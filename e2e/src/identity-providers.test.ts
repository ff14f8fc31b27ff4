import { startIdentityProvider, type RunningIdentityProvider } from '@claude-gateway/dev';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { formsOf, HttpSession } from './harness/http-session.ts';
import { authorizeDevice, poll, postToken, tokensOf } from './harness/sign-in.ts';
import { startStack, type Stack } from './harness/stack.ts';

let stack: Stack;
let partners: RunningIdentityProvider;

/** One gateway, two issuers: the company's own, and one of its partners. */
beforeAll(async () => {
  stack = await startStack();
  const secret = 'a-client-secret-at-the-partners-provider';
  partners = await startIdentityProvider({
    clients: [
      { client_id: 'gateway', client_secret: secret, redirect_uris: [`${stack.url}/oauth/callback`] },
    ],
    users: [
      {
        sub: 'alice',
        name: 'Alice Partner',
        email: 'alice@partner.example',
        emailVerified: true,
        groups: ['contractors'],
      },
    ],
  });
  const scopes = ['openid', 'profile', 'email', 'offline_access', 'groups'];
  const document = stack.document();
  const [gateway] = stack.replicas;
  gateway?.reconfigure({
    ...document,
    oidc: [
      { name: 'corp', label: 'Corp staff', ...(document['oidc'] as object) },
      {
        name: 'partners',
        label: 'Partners',
        issuer: partners.issuer,
        client_id: 'gateway',
        client_secret: secret,
        scopes,
      },
    ],
  });
  await gateway?.until((line) => line['msg'] === 'configuration reloaded');
}, 120_000);
afterAll(async () => {
  await stack?.stop();
  await partners?.stop();
});

async function signInWith(
  provider: string,
): Promise<{ email: string; sub: string; groups: string[]; refreshToken: string }> {
  const device = await authorizeDevice(stack.url);
  const browser = new HttpSession();
  const page = await browser.get(device.verification_uri_complete);
  const [form] = formsOf(page);
  const button = form?.buttons.find(({ name, value }) => name === 'provider' && value === provider);
  if (form === undefined || button === undefined) throw new Error(`no button for ${provider}:\n${page.body}`);
  const atProvider = await browser.submit(page, form, {}, button);
  const [people] = formsOf(atProvider);
  const alice = people?.buttons.find(({ name, value }) => name === 'user' && value === 'alice');
  if (people === undefined || alice === undefined) throw new Error(`no people:\n${atProvider.body}`);
  expect((await browser.submit(atProvider, people, {}, alice)).status).toBe(200);
  const tokens = await tokensOf(await poll(stack.url, device));
  const claims = JSON.parse(Buffer.from(tokens.accessToken.split('.')[1] ?? '', 'base64url').toString()) as {
    email: string;
    sub: string;
    groups: string[];
  };
  return { ...claims, refreshToken: tokens.refreshToken ?? '' };
}

it('offers a choice, and keeps people of the same name at two providers apart', async () => {
  const staff = await signInWith('corp');
  const partner = await signInWith('partners');
  expect(staff).toMatchObject({ email: 'alice@corp.example', groups: ['eng'] });
  expect(partner).toMatchObject({ email: 'alice@partner.example', groups: ['contractors'] });
  expect(partner.sub).not.toBe(staff.sub);
});

it('asks each provider about its own people when they refresh', async () => {
  const staff = await signInWith('corp');
  const partner = await signInWith('partners');
  const refresh = async (token: string): Promise<number> =>
    (await postToken(stack.url, { grant_type: 'refresh_token', refresh_token: token })).status;
  partners.disableUser('alice');
  expect(await refresh(partner.refreshToken)).toBe(401);
  expect(await refresh(staff.refreshToken)).toBe(200);
});
