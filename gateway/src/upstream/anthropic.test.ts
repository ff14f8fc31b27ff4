import { afterEach, describe, expect, it } from '@jest/globals';
import type { IncomingHttpHeaders } from 'node:http';
import { request as httpRequest } from 'node:http';
import { HELLO, readAll, TestBed, type TestGateway } from './testing/harness.ts';
import type { AnthropicConfig } from './anthropic.ts';

const bed = new TestBed();
afterEach(() => bed.close());

interface Asked {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

async function gatewayBefore(
  base: string,
  auth: AnthropicConfig['auth'],
): Promise<{ gateway: TestGateway; asked: Asked[] }> {
  const asked: Asked[] = [];
  const { url } = await bed.serve((request, response) => {
    asked.push({ url: request.url ?? '', headers: request.headers });
    void readAll(request).then(() => response.end('{}'));
  });
  return { gateway: await bed.gateway([{ base_url: url + base, auth }]), asked };
}

/** With a header that `fetch` would leave out or change. */
async function send(gateway: TestGateway, beta: string | undefined): Promise<number | undefined> {
  const body = JSON.stringify(HELLO);
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const headers = {
    'content-length': Buffer.byteLength(body),
    ...(beta === undefined ? {} : { 'anthropic-beta': beta }),
  };
  httpRequest(`${gateway.url}/v1/messages?beta=true`, { method: 'POST', headers }, (response) => {
    response.resume().once('end', () => resolve(response.statusCode));
  })
    .once('error', reject)
    .end(body);
  return promise;
}

describe('base_url', () => {
  it.each([
    ['', '/v1/messages?beta=true'],
    ['/', '/v1/messages?beta=true'],
    ['/v1', '/v1/messages?beta=true'],
    ['/v1/', '/v1/messages?beta=true'],
    ['/v1/messages', '/v1/messages?beta=true'],
    ['/team//', '/team/v1/messages?beta=true'],
    ['/anthropic/v1/', '/anthropic/v1/messages?beta=true'],
    ['/v1/account/anthropic', '/v1/account/anthropic/v1/messages?beta=true'],
  ])('%s leads to %s', async (base, path) => {
    const { gateway, asked } = await gatewayBefore(base, { api_key: 'k' });
    expect(await send(gateway, undefined)).toBe(200);
    expect(asked[0]?.url).toBe(path);
  });
});

describe('anthropic-beta', () => {
  it.each([
    [undefined, undefined, 'oauth-2025-04-20'],
    ['', undefined, 'oauth-2025-04-20'],
    ['a-1', 'a-1', 'a-1,oauth-2025-04-20'],
    ['a-1, ,b-2,', 'a-1, ,b-2,', 'a-1,b-2,oauth-2025-04-20'],
    ['oauth-2025-04-20, a-1', 'oauth-2025-04-20, a-1', 'oauth-2025-04-20, a-1'],
  ])('%j goes to a key as %j and to an OAuth token as %j', async (beta, withKey, withToken) => {
    const key = await gatewayBefore('', { api_key: 'k' });
    const token = await gatewayBefore('', { oauth_token: 't' });
    await send(key.gateway, beta);
    await send(token.gateway, beta);
    expect(key.asked[0]?.headers['anthropic-beta']).toBe(withKey);
    expect(token.asked[0]?.headers['anthropic-beta']).toBe(withToken);
  });
});
