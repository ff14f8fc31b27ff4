import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';
import { ApiError } from '../http/errors.ts';
import { HELLO, OPEN_POLICY, post, readAll, TestBed, until, type TestGateway } from './testing/harness.ts';

const bed = new TestBed();
afterEach(() => bed.close());

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** An upstream that answers `{}` with these headers and remembers what it was asked. */
async function recorder(
  headers: Record<string, string | string[]> = {},
): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const { url } = await bed.serve((request: IncomingMessage, response) => {
    void readAll(request).then((body) => {
      seen.push({
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: body.toString(),
      });
      response.writeHead(200, { 'content-type': 'application/json', ...headers }).end('{}');
    });
  });
  return { url, seen };
}

/** Sends raw bytes and reads until the connection closes. */
async function raw(gateway: TestGateway, text: string): Promise<string> {
  const { port, hostname } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
  socket.write(text, 'latin1');
  await once(socket, 'close');
  return received;
}

describe('the request that the upstream sees', () => {
  it('has the path, the query and the very bytes of the client', async () => {
    const { url, seen } = await recorder();
    const gateway = await bed.gateway([`${url}/prefix/`]);
    const body = '{ "model":"claude-opus-4-8" ,\n"unknown_field" : [1.0, 1e2, "\\u00fc"], "tags":{"a":"b"} }';
    await post(gateway, body);
    const counted = await fetch(`${gateway.url}/v1/messages/count_tokens`, { method: 'POST', body });
    expect(counted.status).toBe(200);
    expect(seen).toMatchObject([
      { method: 'POST', url: '/prefix/v1/messages?beta=true', body },
      { method: 'POST', url: '/prefix/v1/messages/count_tokens', body },
    ]);
  });

  it('carries what the API needs and nothing that identifies or authorizes the client', async () => {
    const { url, seen } = await recorder();
    const gateway = await bed.gateway([url]);
    await post(gateway, HELLO, {
      authorization: 'Bearer gateway-token',
      'x-api-key': 'gateway-token',
      'proxy-authorization': 'Basic x',
      cookie: 'a=b',
      accept: 'application/json',
      'accept-encoding': 'gzip, br',
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'claude-code-20250219,context-management-2025-06-27',
      'user-agent': 'claude-cli/2.1.330',
      'x-app': 'cli',
      'x-claude-code-session-id': 'session',
      'x-claude-code-managed-settings-checksum': 'sha256:0',
      'x-claude-code-parent-agent-id': 'agent',
      'x-stainless-arch': 'x64',
      'x-stainless-x_y': 'z',
      'anthropic-workspace-id': 'wrkspc_other',
      'anthropic-user-profile-id': 'uprof_other',
      'anthropic-client-platform': 'claude_code_cli',
      'content-type': 'text/plain; charset=utf-7',
      'x-forwarded-for': '10.0.0.1',
      'x-forwarded-email': 'someone@corp.example',
      forwarded: 'for=10.0.0.1',
      'x-real-ip': '10.0.0.1',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      te: 'trailers',
    });
    expect(seen[0]?.headers).toEqual({
      host: new URL(url).host,
      connection: 'keep-alive',
      'content-length': String(JSON.stringify(HELLO).length),
      'content-type': 'application/json',
      accept: 'application/json',
      'accept-encoding': 'identity',
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'claude-code-20250219,context-management-2025-06-27',
      'user-agent': 'claude-cli/2.1.330 claude-gateway/0',
      'x-app': 'cli',
      'x-claude-code-session-id': 'session',
      'x-claude-code-parent-agent-id': 'agent',
      'x-stainless-arch': 'x64',
      'anthropic-client-platform': 'claude_code_cli',
      'x-api-key': 'key',
    });
  });

  it('carries a bearer and its beta, once, when that is the credential, and headers of the configuration', async () => {
    const { url, seen } = await recorder();
    const gateway = await bed.gateway([
      { base_url: url, auth: { oauth_token: 'token' }, headers: { 'X-Team': 'a', 'user-agent': 'fixed' } },
    ]);
    await post(gateway, HELLO);
    await post(gateway, HELLO, { 'anthropic-beta': 'a, oauth-2025-04-20' });
    await post(gateway, HELLO, { 'anthropic-beta': 'a' });
    expect(seen.map(({ headers }) => headers['anthropic-beta'])).toEqual([
      'oauth-2025-04-20',
      'a, oauth-2025-04-20',
      'a,oauth-2025-04-20',
    ]);
    expect(seen[0]?.headers).toMatchObject({
      authorization: 'Bearer token',
      'x-team': 'a',
      'user-agent': 'fixed',
    });
    expect(seen[0]?.headers).not.toHaveProperty('x-api-key');
  });

  it('reuses connections', async () => {
    const ports = new Set<number | undefined>();
    const { url } = await bed.serve((request, response) => {
      ports.add(request.socket.remotePort);
      request.resume().on('end', () => response.end('{}'));
    });
    const gateway = await bed.gateway([url]);
    for (let i = 0; i < 5; i++) await (await post(gateway)).text();
    expect(ports.size).toBe(1);
  });

  it('has every byte of a large body, however it arrives', async () => {
    const { url, seen } = await recorder();
    const gateway = await bed.gateway([url]);
    const text = Array.from({ length: 90_000 }, (_, i) => `${i} größer`)
      .join(', ')
      .slice(0, 900_000);
    const body = JSON.stringify({ ...HELLO, messages: [{ role: 'user', content: text }] });
    for (let i = 0; i < 3; i++) expect((await post(gateway, body)).status).toBe(200);
    expect(seen.map((request) => request.body === body)).toEqual([true, true, true]);
  });

  it('names a model that goes by another name there', async () => {
    const { url, seen } = await recorder();
    const gateway = await bed.gateway([url], {
      policy: {
        checkModel: () => ({ canonical: 'real' }),
        allowsEveryModel: () => true,
        upstreamModel: (model) => `${model}-id`,
      },
    });
    await post(gateway, '{"messages":[],"model":"alias","z":"\\u00fc"}');
    await post(gateway, '{"a":1.50,"mod\\u0065l":"alias"}');
    expect(seen.map(({ body }) => body)).toEqual([
      '{"messages":[],"model":"real-id","z":"\\u00fc"}',
      '{"a":1.50,"mod\\u0065l":"real-id"}',
    ]);
  });
});

describe('the response that the client sees', () => {
  it('has the upstream’s headers that concern the answer itself, and none of its quota, cookies and ids', async () => {
    const { url } = await recorder({
      'request-id': 'req_upstream',
      'x-request-id': 'req_upstream',
      'anthropic-ratelimit-requests-limit': '5',
      'anthropic-ratelimit-unified-status': 'allowed',
      'anthropic-organization-id': 'org',
      'set-cookie': ['a=b', 'c=d'],
      'strict-transport-security': 'max-age=1',
      'alt-svc': 'h3=":443"',
      server: 'cloudflare',
      via: '1.1 x',
      'cf-ray': 'x',
      'retry-after': '3',
      'x-should-retry': 'true',
      'x-custom': 'c',
      'cache-control': 'no-cache',
      'anthropic-version': '2023-06-01',
      'x-accel-redirect': '/etc/passwd',
      location: 'https://elsewhere.example',
      'www-authenticate': 'Basic',
      'access-control-allow-credentials': 'true',
      'clear-site-data': '"*"',
    });
    const gateway = await bed.gateway([url]);
    const response = await post(gateway);
    const { 'request-id': id, date, ...headers } = Object.fromEntries(response.headers);
    expect(id).toMatch(/^req_[0-9a-f]{32}$/);
    expect(date).toBeDefined();
    expect(headers).toEqual({
      'anthropic-version': '2023-06-01',
      'cache-control': 'no-cache',
      'content-type': 'application/json',
      connection: 'keep-alive',
      'keep-alive': 'timeout=620',
      'retry-after': '3',
      'transfer-encoding': 'chunked',
      'x-should-retry': 'true',
    });
    await response.text();
    await until(() => gateway.audit.length === 1);
    expect(gateway.audit).toEqual([
      {
        event: 'inference',
        request_id: id,
        sub: 'u1',
        email: 'u1@corp.example',
        client_ip: '127.0.0.1',
        path: '/v1/messages',
        model: 'claude-opus-4-8',
        upstream: 'up0',
        upstream_request_id: 'req_upstream',
        status: 200,
        ms: expect.any(Number) as unknown,
      },
    ]);
    expect(gateway.log).toMatchObject([
      { msg: 'inference', request_id: id, ending: 'complete', request_bytes: 90, response_bytes: 2 },
    ]);
  });
});

describe('odd bytes in headers', () => {
  it('of the client are passed on when HTTP allows them, and refused otherwise', async () => {
    const { url, seen } = await recorder();
    const gateway = await bed.gateway([url]);
    const head =
      'POST /v1/messages?a#|"<> HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 13\r\n';
    const body = '\r\n\r\n{"model":"a"}';
    expect(await raw(gateway, `${head}x-stainless-os: caf\xe9\r\nanthropic-x!#: ${body}`)).toMatch(
      /^HTTP\/1\.1 200 /,
    );
    expect(await raw(gateway, `${head}anthropic-beta: a\x7fb${body}`)).toMatch(/^HTTP\/1\.1 400 /);
    expect(seen).toMatchObject([{ url: '/v1/messages?a#|"<>', headers: { 'x-stainless-os': 'caf\xe9' } }]);
    expect(seen[0]?.headers).not.toHaveProperty(['anthropic-x!#']);
  });

  it('of the upstream make the next one answer', async () => {
    const broken = createServer((socket) => {
      socket.once('data', () =>
        socket.end('HTTP/1.1 200 OK\r\nx-bad: a\u0001b\r\ncontent-length: 2\r\n\r\n{}', 'latin1'),
      );
    });
    await new Promise<void>((resolve) => broken.listen(0, '127.0.0.1', resolve));
    const { port } = broken.address() as AddressInfo;
    const { url } = await recorder();
    const gateway = await bed.gateway([`http://127.0.0.1:${port}`, url]);
    const response = await post(gateway);
    expect(response.status).toBe(200);
    expect(response.headers.get('x-bad')).toBeNull();
    broken.close();
  });
});

describe('a request that cannot be relayed', () => {
  it.each([
    ['', 400, 'The request body is not valid JSON.'],
    ['{', 400, 'The request body is not valid JSON.'],
    ['{"model":"a"}x', 400, 'The request body is not valid JSON.'],
    ['{"model":"\\q"}', 400, 'The request body is not valid JSON.'],
    [
      '{"model":"a","maxTokens":1}',
      400,
      'max_tokens: the request body has this member in another spelling; write it like this.',
    ],
    [
      '{"model":"a","fallbacks":["b"]}',
      400,
      'fallbacks.0: tools must be a list of objects, and fallbacks a list of objects that name one model each: this gateway cannot check anything else.',
    ],
    ['{"model":"a","mod\\u0065l":"b"}', 400, 'model: the request body has this member twice; send it once.'],
    [
      '{"model":"a","tools":[],"tools":[]}',
      400,
      'tools: the request body has this member twice; send it once.',
    ],
    [`{"model":"${'a'.repeat(5000)}"}`, 400, 'model must be a string of at most 4096 bytes.'],
    ['[]', 400, 'The request body must be a JSON object.'],
    ['null', 400, 'The request body must be a JSON object.'],
    ['{}', 400, 'The request body needs a model.'],
    ['{"model":""}', 400, 'The request body needs a model.'],
    ['{"model":1}', 400, 'model must be a string.'],
    ['{"model":null}', 400, 'model must be a string.'],
    ['{"model":"unserved"}', 400, 'No upstream of this gateway serves the model unserved.'],
    ['{"model":"denied"}', 400, 'no'],
  ])('%s', async (body, status, message) => {
    const { url, seen } = await recorder();
    const gateway = await bed.gateway([url], {
      policy: {
        checkModel: (_principal, requested) => {
          if (requested === 'denied') throw new ApiError('invalid_request_error', 'no');
          return { canonical: requested };
        },
        allowsEveryModel: () => true,
        upstreamModel: (model) => (model === 'unserved' ? undefined : model),
      },
    });
    const response = await post(gateway, body);
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual({
      type: 'error',
      error: { type: 'invalid_request_error', message },
      request_id: response.headers.get('request-id'),
    });
    expect(seen).toEqual([]);
    await until(() => gateway.audit.length === 1);
    expect(gateway.audit[0]).toMatchObject({ event: 'inference', status, upstream: null });
  });

  it('is answered too when the policy breaks', async () => {
    const { url } = await recorder();
    const gateway = await bed.gateway([url], {
      policy: {
        ...OPEN_POLICY,
        checkModel: () => {
          throw new TypeError('a defect');
        },
      },
    });
    const response = await post(gateway);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('a defect');
    expect(gateway.log[0]).toMatchObject({ level: 'error', err: { message: 'a defect' } });
  });

  it('by its method', async () => {
    const gateway = await bed.gateway(['http://127.0.0.1:1']);
    const response = await fetch(`${gateway.url}/v1/messages`);
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST');
  });

  it('by its size, before the body has come; the connection goes on', async () => {
    const { url } = await recorder();
    const gateway = await bed.gateway([url], { limits: { max_request_bytes: 1000 } });
    const response = await post(gateway, `{"model":"a","x":"${'x'.repeat(1000)}"}`);
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ error: { type: 'request_too_large' } });
    const head = 'POST /v1/messages HTTP/1.1\r\nhost: x\r\n';
    const answers = await raw(
      gateway,
      `${head}content-length: 2000\r\n\r\n${'y'.repeat(2000)}${head}connection: close\r\ncontent-length: 13\r\n\r\n{"model":"a"}`,
    );
    expect(answers).toMatch(/^HTTP\/1\.1 413 [^]*HTTP\/1\.1 200 OK/);
  });

  it('without a Content-Length', async () => {
    const gateway = await bed.gateway(['http://127.0.0.1:1']);
    const head = 'POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\n';
    expect(await raw(gateway, `${head}transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 411 [^]*Content-Length/,
    );
    expect(await raw(gateway, `${head}\r\n`)).toMatch(/^HTTP\/1\.1 400 [^]*body is empty/);
  });

  it('because its body stalls', async () => {
    const gateway = await bed.gateway(['http://127.0.0.1:1'], { bodyStallMs: 50 });
    const answer = await raw(
      gateway,
      'POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{"model":',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    await until(() => gateway.inference.inFlight === 0);
  });

  it('because its client leaves while it sends: nothing of it stays', async () => {
    const { url, seen } = await recorder();
    const gateway = await bed.gateway([url]);
    const { port, hostname } = new URL(gateway.url);
    const socket = connect(Number(port), hostname);
    socket.write('POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"model":');
    await until(() => gateway.inference.inFlight === 1);
    socket.destroy();
    await until(() => gateway.inference.inFlight === 0);
    expect(seen).toEqual([]);
    expect(gateway.audit).toMatchObject([{ status: 499 }]);
  });
});
