import { afterEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FederatedCredential, type FederationAuth } from './federation.ts';
import { post, readAll, TestBed, until } from './testing/harness.ts';

const bed = new TestBed();
let directory = '';
afterEach(async () => {
  await bed.close();
  if (directory !== '') rmSync(directory, { recursive: true });
  directory = '';
});

interface Exchange {
  readonly headers: Record<string, unknown>;
  readonly body: Record<string, unknown>;
}

/** A token endpoint and a Messages API in one, as the Claude API is. */
async function api(options: { lifetime?: number; refuse?: () => boolean } = {}): Promise<{
  url: string;
  auth: FederationAuth;
  exchanges: Exchange[];
  bearers: (string | undefined)[];
  failExchange: (status: number | null) => void;
}> {
  directory = mkdtempSync(join(tmpdir(), 'federation-'));
  const identityTokenFile = join(directory, 'token');
  writeFileSync(identityTokenFile, 'workload-token-1\n');
  const exchanges: Exchange[] = [];
  const bearers: (string | undefined)[] = [];
  let failure: number | null = null;
  const { url } = await bed.serve((request, response) => {
    void readAll(request).then((body) => {
      if (request.url === '/v1/oauth/token') {
        exchanges.push({
          headers: request.headers,
          body: JSON.parse(body.toString()) as Record<string, unknown>,
        });
        response.setHeader('content-type', 'application/json');
        if (failure !== null) {
          response.writeHead(failure).end('{"error":"invalid_grant","error_description":"no such rule"}');
          return;
        }
        response.end(
          JSON.stringify({
            access_token: `bearer-${exchanges.length}`,
            token_type: 'Bearer',
            expires_in: options.lifetime ?? 3600,
          }),
        );
        return;
      }
      bearers.push(request.headers.authorization);
      response.writeHead(options.refuse?.() === true ? 401 : 200).end('{}');
    });
  });
  return {
    url,
    auth: {
      federation_rule_id: 'fdrl_1',
      organization_id: 'org-1',
      identity_token_file: identityTokenFile,
      workspace_id: 'wrkspc_1',
    },
    exchanges,
    bearers,
    failExchange: (status) => (failure = status),
  };
}

describe('an upstream with federation', () => {
  it('exchanges the workload’s token once for many requests', async () => {
    const { url, auth, exchanges, bearers } = await api();
    const gateway = await bed.gateway([{ base_url: url, auth }]);
    const responses = await Promise.all(Array.from({ length: 10 }, () => post(gateway)));
    expect(responses.map(({ status }) => status)).toEqual(Array(10).fill(200));
    await post(gateway);
    expect(bearers).toEqual(Array(11).fill('Bearer bearer-1'));
    expect(exchanges).toHaveLength(1);
    expect(exchanges[0]).toMatchObject({
      headers: {
        'content-type': 'application/json',
        'anthropic-beta': 'oauth-2025-04-20,oidc-federation-2026-04-01',
      },
    });
    expect(exchanges[0]?.body).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion: 'workload-token-1',
      federation_rule_id: 'fdrl_1',
      organization_id: 'org-1',
      workspace_id: 'wrkspc_1',
    });
  });

  it('gets a new bearer when the API refuses the old one, and tries the request again', async () => {
    let refused = 0;
    const { url, auth, exchanges, bearers } = await api({
      refuse: () => bearers.length === 2 && ++refused === 1,
    });
    const gateway = await bed.gateway([{ base_url: url, auth }]);
    expect((await post(gateway)).status).toBe(200);
    writeFileSync(auth.identity_token_file, 'workload-token-2');
    expect((await post(gateway)).status).toBe(200);
    expect(bearers).toEqual(['Bearer bearer-1', 'Bearer bearer-1', 'Bearer bearer-2']);
    expect(exchanges.map(({ body }) => body.assertion)).toEqual(['workload-token-1', 'workload-token-2']);
  });

  it('is passed over while no bearer can be had; the reason is logged, the token is not', async () => {
    const { url, auth, exchanges, failExchange } = await api();
    failExchange(400);
    const { url: other } = await bed.serve((_request, response) => response.end('{}'));
    const gateway = await bed.gateway([{ base_url: url, auth }, other]);
    expect((await post(gateway)).status).toBe(200);
    expect(gateway.log[0]).toMatchObject({
      upstream: 'up0',
      error: 'token exchange answered 400: invalid_grant: no such rule',
    });
    rmSync(auth.identity_token_file);
    expect((await post(gateway)).status).toBe(200);
    expect(exchanges).toHaveLength(1);
    expect(JSON.stringify(gateway.log)).not.toContain('workload-token');
  });
});

describe('FederatedCredential', () => {
  it('refreshes in the background before the end, keeps the old bearer while that fails, and waits at the end', async () => {
    const { url, auth, exchanges, failExchange } = await api({ lifetime: 3600 });
    let now = 1_000_000_000;
    const failures: string[] = [];
    const credential = new FederatedCredential({
      auth,
      baseUrl: new URL(url),
      dispatcher: bed.agent(),
      userAgent: 'test',
      clock: () => now,
      onRefreshFailed: (error) => failures.push(error.message),
    });
    expect(await credential.get()).toBe('bearer-1');
    now += 3_290_000;
    expect(credential.get()).toBe('bearer-1');
    expect(exchanges).toHaveLength(1);

    failExchange(500);
    now += 20_000;
    expect(credential.get()).toBe('bearer-1');
    await until(() => exchanges.length === 2);
    await until(() => failures.length === 1);
    expect(failures).toEqual(['token exchange answered 500: invalid_grant: no such rule']);
    // Nobody hammers an endpoint that has just failed.
    now += 5_000;
    expect(credential.get()).toBe('bearer-1');
    await sleep(50);
    expect(exchanges).toHaveLength(2);

    failExchange(null);
    now += 11_000;
    await until(() => credential.get() === 'bearer-3' || exchanges.length > 3);
    expect(exchanges).toHaveLength(3);

    now += 3_580_000;
    expect(await credential.get()).toBe('bearer-4');
  });

  it.each([
    ['{}', 'token exchange answered without a usable access_token'],
    ['{"access_token":"a\\r\\nb"}', 'token exchange answered without a usable access_token'],
    ['not json', 'token exchange answered without a usable access_token'],
    ['x'.repeat(100_000), 'token exchange answered with too long a body'],
  ])('refuses the answer %.30s', async (answer, message) => {
    const { auth } = await api();
    const { url } = await bed.serve((_request, response) => response.end(answer));
    const credential = new FederatedCredential({
      auth,
      baseUrl: new URL(url),
      dispatcher: bed.agent(),
      userAgent: 'test',
    });
    await expect(credential.get()).rejects.toThrow(message);
  });

  it('says so when the token file is empty', async () => {
    const { url, auth } = await api();
    writeFileSync(auth.identity_token_file, '\n');
    const credential = new FederatedCredential({
      auth,
      baseUrl: new URL(url),
      dispatcher: bed.agent(),
      userAgent: 'test',
    });
    await expect(credential.get()).rejects.toThrow('identity token file is empty');
  });
});
