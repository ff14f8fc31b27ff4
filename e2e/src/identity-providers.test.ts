import { startIdentityProvider, type RunningIdentityProvider } from '@claude-gateway/dev';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { GatewayDocument } from './harness/gateway-process.ts';
import { formsOf, HttpSession } from './harness/http-session.ts';
import { authorizeDevice, poll, postToken, tokensOf } from './harness/sign-in.ts';
import { startStack, type Stack } from './harness/stack.ts';

let stack: Stack;
let partners: RunningIdentityProvider;

const SECRET = 'a-client-secret-at-the-partners-provider';

const PARTNERS = (): Record<string, unknown> => ({
  name: 'partners',
  label: 'Partners',
  issuer: partners.issuer,
  client_id: 'gateway',
  client_secret: SECRET,
  scopes: ['openid', 'profile', 'email', 'offline_access', 'groups'],
});

/** One gateway, two issuers: the company's own, and one of its partners. */
beforeAll(async () => {
  stack = await startStack();
  partners = await startIdentityProvider({
    clients: [
      { client_id: 'gateway', client_secret: SECRET, redirect_uris: [`${stack.url}/oauth/callback`] },
    ],
    users: [
      {
        sub: 'alice',
        name: 'Alice Partner',
        email: 'alice@partner.example',
        emailVerified: true,
        groups: ['contractors'],
      },
      {
        sub: 'mallory',
        name: 'Mallory Partner',
        email: 'mallory@partner.example',
        emailVerified: true,
        groups: ['platform-finops', 'ops', ...Array.from({ length: 5000 }, (_, i) => `partner-team-${i}`)],
      },
    ],
  });
  const document = stack.document();
  const [gateway] = stack.replicas;
  gateway?.reconfigure({
    ...document,
    oidc: [{ name: 'corp', label: 'Corp staff', ...(document['oidc'] as object) }, PARTNERS()],
  });
  await gateway?.until((line) => line['msg'] === 'configuration reloaded');
}, 120_000);
afterAll(async () => {
  await stack?.stop();
  await partners?.stop();
});

async function signInWith(
  provider: string,
  user = 'alice',
): Promise<{ email: string; sub: string; groups: string[]; refreshToken: string; accessToken: string }> {
  const device = await authorizeDevice(stack.url);
  const browser = new HttpSession();
  const page = await browser.get(device.verification_uri_complete);
  const [form] = formsOf(page);
  const button = form?.buttons.find(({ name, value }) => name === 'provider' && value === provider);
  if (form === undefined || button === undefined) throw new Error(`no button for ${provider}:\n${page.body}`);
  const atProvider = await browser.submit(page, form, {}, button);
  const [people] = formsOf(atProvider);
  const alice = people?.buttons.find(({ name, value }) => name === 'user' && value === user);
  if (people === undefined || alice === undefined) throw new Error(`no people:\n${atProvider.body}`);
  expect((await browser.submit(atProvider, people, {}, alice)).status).toBe(200);
  const tokens = await tokensOf(await poll(stack.url, device));
  const claims = JSON.parse(Buffer.from(tokens.accessToken.split('.')[1] ?? '', 'base64url').toString()) as {
    email: string;
    sub: string;
    groups: string[];
  };
  return { ...claims, refreshToken: tokens.refreshToken ?? '', accessToken: tokens.accessToken };
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

it('makes no administrator of whoever another provider puts into a group of that name', async () => {
  const [gateway] = stack.replicas;
  const before = stack.document();
  const settings = (namedLater: readonly string[]): GatewayDocument => ({
    ...before,
    session: { ...(before['session'] as object), groups: 'named' },
    admin: { admin_groups: ['platform-finops', ...namedLater] },
    oidc: [
      { name: 'corp', label: 'Corp staff', ...(before['oidc'] as object) },
      { ...PARTNERS(), groups_prefix: 'partners/' },
    ],
  });
  const reloaded = async (document: GatewayDocument): Promise<void> => {
    const reloads = (): number =>
      gateway?.lines.filter((line) => line['msg'] === 'configuration reloaded').length ?? 0;
    const seen = reloads();
    gateway?.reconfigure(document);
    await gateway?.until(() => reloads() > seen);
  };
  await reloaded(settings([]));

  const limits = async (token: string): Promise<number> =>
    (
      await fetch(`${stack.url}/v1/organizations/spend_limits`, {
        headers: { authorization: `Bearer ${token}` },
      })
    ).status;
  const carol = await signInWith('corp', 'carol');
  expect(carol.groups).toEqual(['platform-finops']);
  expect(await limits(carol.accessToken)).toBe(200);

  // In 5,002 groups, of which no rule names one: a token of all of them could not be sent.
  const mallory = await signInWith('partners', 'mallory');
  expect(mallory.groups).toEqual([]);
  expect(await limits(mallory.accessToken)).toBe(401);

  // Named later: from the next refresh on.
  await reloaded(settings(['partners/ops']));
  const response = await postToken(stack.url, {
    grant_type: 'refresh_token',
    refresh_token: mallory.refreshToken,
  });
  const { accessToken } = await tokensOf(response);
  expect(await limits(accessToken)).toBe(200);
}, 60_000);
