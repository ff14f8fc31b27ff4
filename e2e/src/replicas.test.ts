import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { approve, authorizeDevice, poll, postToken, signIn, tokensOf } from './harness/sign-in.ts';
import { startStack, type Stack } from './harness/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ replicas: 2 });
}, 120_000);
afterAll(() => stack.stop());

const message = (accessToken: string, model = 'claude-haiku-4-5', url = stack.url): Promise<Response> =>
  fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${accessToken}`,
      'content-type': 'application/json',
      'anthropic-version': '2023-06-01',
    },
    body: JSON.stringify({ model, max_tokens: 64, messages: [{ role: 'user', content: 'hello' }] }),
  });

describe('two replicas behind a balancer that sends each request to the other one', () => {
  it('serves every step of a sign-in from either replica', async () => {
    const device = await authorizeDevice(stack.url);
    const page = await approve(device, 'alice');
    expect(page.status).toBe(200);
    expect(page.body).toContain('alice@corp.example');
    const tokens = await tokensOf(await poll(stack.url, device));
    expect(tokens.email).toBe('alice@corp.example');
    for (const replica of stack.replicas) {
      expect((await message(tokens.accessToken, undefined, replica.url)).status).toBe(200);
    }
    for (const event of ['device.authorize', 'device.verify', 'session.mint', 'inference']) {
      expect(stack.replicas.flatMap((replica) => replica.audit(event))).not.toHaveLength(0);
    }
  });

  it('hands an approved grant out once, whoever asks first', async () => {
    const device = await authorizeDevice(stack.url);
    await approve(device, 'alice');
    const grant = {
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
      device_code: device.device_code,
    };
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => postToken(stack.replicas[i % 2]?.url ?? '', grant)),
    );
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
  });

  it('shows a revocation on both replicas within a second', async () => {
    const { accessToken } = await signIn(stack.url, 'alice');
    const statuses = async () =>
      Promise.all(
        stack.replicas.map(async (replica) => (await message(accessToken, undefined, replica.url)).status),
      );
    expect(await statuses()).toEqual([200, 200]);
    const revoked = await fetch(`${stack.url}/oauth/revoke`, {
      method: 'POST',
      body: new URLSearchParams({ token: accessToken }),
    });
    expect(revoked.status).toBe(200);
    await sleep(1000);
    expect(await statuses()).toEqual([401, 401]);
    const refused = await message(accessToken);
    expect(refused.headers.get('x-should-retry')).toBe('false');
  });

  it('refreshes on either replica, and not for somebody whom the identity provider has disabled', async () => {
    const first = await signIn(stack.url, 'carol');
    const refresh = (token: string | undefined) =>
      postToken(stack.url, { grant_type: 'refresh_token', refresh_token: token ?? '' });
    const second = await tokensOf(await refresh(first.refreshToken));
    expect(second.refreshToken).not.toBe(first.refreshToken);
    const third = await tokensOf(await refresh(second.refreshToken));
    stack.identityProvider.disableUser('carol');
    try {
      const refused = await refresh(third.refreshToken);
      expect(refused.status).toBe(401);
      expect(await refused.json()).toMatchObject({ error: 'invalid_grant' });
    } finally {
      stack.identityProvider.enableUser('carol');
    }
  });

  it('gives contractors their models only', async () => {
    const { accessToken } = await signIn(stack.url, 'bob');
    expect((await message(accessToken, 'claude-haiku-4-5')).status).toBe(200);
    const refused = await message(accessToken, 'claude-opus-4-8');
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      type: 'error',
      error: { type: 'invalid_request_error', message: expect.stringContaining('claude-opus-4-8') },
    });
  });
});

describe('PostgreSQL goes away', () => {
  it('keeps signed-in developers working and ready, and sign-in comes back with it', async () => {
    const { accessToken } = await signIn(stack.url, 'alice');
    await stack.postgres.pause();
    try {
      expect((await message(accessToken)).status).toBe(200);
      expect((await fetch(`${stack.url}/readyz`)).status).toBe(200);
      const refused = await fetch(`${stack.url}/oauth/device_authorization`, { method: 'POST' });
      expect(refused.status).toBe(503);
      expect(await refused.json()).toMatchObject({ error: 'temporarily_unavailable' });
    } finally {
      await stack.postgres.restart();
    }
    await signInEventually();
  }, 60_000);
});

async function signInEventually(): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await signIn(stack.url, 'alice');
      return;
    } catch (error) {
      if (attempt === 20) throw error;
      await sleep(500);
    }
  }
}
