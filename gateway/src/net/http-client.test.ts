import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect as netConnect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { gzipSync } from 'node:zlib';
import type { Dispatcher } from 'undici';
import { createAgent, createFetch, describeNetworkError, type AgentOptions } from './http-client.ts';
import type { Resolver } from './ssrf-guard.ts';
import { createTestCa } from './testing/certificates.ts';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const hello: Handler = (request, response) => void response.end(`hello ${request.headers.host ?? ''}`);

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function agentOf(options: Partial<AgentOptions>): Dispatcher {
  const agent = createAgent({ allowLoopback: true, ...options });
  cleanups.push(() => agent.destroy());
  return agent;
}

const fetchWith = (options: Partial<AgentOptions>): ReturnType<typeof createFetch> =>
  createFetch(agentOf(options));

const toLoopback: Resolver = async () => [{ address: '127.0.0.1', family: 4 }];

/** A forward proxy that records what it was asked and sends every tunnel to one port. */
async function startProxy(
  options: { status?: number } = {},
): Promise<{ url: string; asked: string[]; credentials: unknown[] }> {
  const asked: string[] = [];
  const credentials: unknown[] = [];
  const server = createServer((_request, response) => void response.writeHead(400).end());
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    asked.push(request.url ?? '');
    credentials.push(request.headers['proxy-authorization']);
    if (options.status !== undefined) {
      socket.end(`HTTP/1.1 ${options.status} No\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const destination = netConnect(Number(request.url?.split(':').at(-1)), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(destination).pipe(socket);
    });
    destination.on('error', () => socket.destroy());
    socket.on('error', () => destination.destroy());
  });
  return { url: `http://127.0.0.1:${await listen(server)}`, asked, credentials };
}

describe('the guard in the agent', () => {
  it('refuses a loopback server by address and by name, and reaches neither', async () => {
    let reached = 0;
    const port = await listen(createServer((_request, response) => void (reached++, response.end())));
    const fetch = fetchWith({ allowLoopback: false });
    for (const host of ['127.0.0.1', '[::1]', 'localhost', '2130706433', '[::ffff:127.0.0.1]']) {
      const failure: unknown = await fetch(`http://${host}:${port}/`).catch((error: unknown) => error);
      expect(describeNetworkError(failure)).toContain('blocked destination');
    }
    expect(reached).toBe(0);
  });

  it('connects to the very address that it judged', async () => {
    const port = await listen(createServer(hello));
    // The second answer is what a rebinding DNS server would give between check and connection.
    const rebinding = [toLoopback, async () => [{ address: '169.254.169.254', family: 4 }]];
    let lookups = 0;
    const fetch = fetchWith({ resolve: (hostname) => rebinding[lookups++]!(hostname) });
    const response = await fetch(`http://idp.example:${port}/`);
    expect(await response.text()).toBe(`hello idp.example:${port}`);
    expect(lookups).toBe(1);

    const failure: unknown = await fetch(`http://other.example:${port}/`).catch((error: unknown) => error);
    expect(describeNetworkError(failure)).toContain('other.example resolves to 169.254.169.254');
  });

  it('hands redirects back, and is still there when a caller follows them', async () => {
    const port = await listen(
      createServer(
        (_request, response) => void response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
      ),
    );
    const fetch = fetchWith({});
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(302);
    const failure: unknown = await fetch(`http://127.0.0.1:${port}/`, { redirect: 'follow' }).catch(
      (error: unknown) => error,
    );
    expect(describeNetworkError(failure)).toContain('169.254.169.254 is a link-local address');
  });

  it('keeps connections alive', async () => {
    const server = createServer(hello);
    let connections = 0;
    server.on('connection', () => connections++);
    const port = await listen(server);
    const fetch = fetchWith({});
    for (let i = 0; i < 10; i++) await (await fetch(`http://127.0.0.1:${port}/`)).text();
    expect(connections).toBeLessThanOrEqual(2);
  });

  it('gives up on endless answers and on silence', async () => {
    const port = await listen(
      createServer((request, response) => {
        if (request.url === '/long') response.end(Buffer.alloc(100_000));
      }),
    );
    const fetch = createFetch(agentOf({ maxResponseBytes: 10_000 }), { timeoutMs: 200 });
    const long = fetch(`http://127.0.0.1:${port}/long`).then((response) => response.text());
    await expect(long).rejects.toThrow();
    await expect(fetch(`http://127.0.0.1:${port}/silent`)).rejects.toThrow(/timeout/i);
  });
});

describe('an answer that is small on the wire', () => {
  it.each(['gzip', 'GZIP, gzip', 'deflate', 'br'])('is not blown up: %s', async (coding) => {
    let asked: string | undefined;
    const port = await listen(
      createServer((request, response) => {
        asked = request.headers['accept-encoding'];
        response.writeHead(200, { 'content-encoding': coding });
        response.end(gzipSync(Buffer.alloc(50_000_000)));
      }),
    );
    const fetch = createFetch(agentOf({ maxResponseBytes: 1_000_000 }));
    const failure = await fetch(`http://127.0.0.1:${port}/`, { headers: { 'Accept-Encoding': 'gzip' } }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(describeNetworkError(failure)).toContain('compressed');
    expect(asked).toBe('identity');
  });
});

describe('a private authority', () => {
  it('replaces the system store', async () => {
    const ca = createTestCa();
    const port = await listen(createHttpsServer(ca.issue('idp.example'), hello));
    const url = `https://idp.example:${port}/`;
    const response = await fetchWith({ caPem: ca.cert, resolve: toLoopback })(url);
    expect(await response.text()).toBe(`hello idp.example:${port}`);

    for (const caPem of [undefined, createTestCa('Another').cert]) {
      const fetch = fetchWith({ resolve: toLoopback, ...(caPem === undefined ? {} : { caPem }) });
      await expect(fetch(url)).rejects.toThrow();
    }
    const wrongName: unknown = await fetchWith({ caPem: ca.cert, resolve: toLoopback })(
      `https://evil.example:${port}/`,
    ).catch((error: unknown) => error);
    expect(describeNetworkError(wrongName)).toContain('evil.example');
  });
});

describe('a forward proxy', () => {
  it('tunnels to the checked address, keeping name and certificate checks', async () => {
    const ca = createTestCa();
    const port = await listen(createHttpsServer(ca.issue('idp.example'), hello));
    const proxy = await startProxy();
    const httpsProxy = proxy.url.replace('//', '//user:p%40ss@');
    const options = { caPem: ca.cert, proxy: { httpsProxy }, resolve: toLoopback };
    const response = await fetchWith(options)(`https://idp.example:${port}/`);
    expect(await response.text()).toBe(`hello idp.example:${port}`);
    expect(proxy.asked).toEqual([`127.0.0.1:${port}`]);
    expect(proxy.credentials).toEqual([`Basic ${Buffer.from('user:p@ss').toString('base64')}`]);
  });

  it('gets the name when it resolves, except for names that are never right', async () => {
    const port = await listen(createServer(hello));
    const proxy = await startProxy();
    const resolve: Resolver = async () => {
      throw new Error('resolved here');
    };
    const fetch = fetchWith({ proxy: { httpProxy: proxy.url, resolve: 'proxy' }, resolve });
    expect(await (await fetch(`http://idp.example:${port}/`)).text()).toBe(`hello idp.example:${port}`);
    expect(proxy.asked).toEqual([`idp.example:${port}`]);
    await expect(fetch('http://metadata.google.internal/')).rejects.toThrow();
    await expect(fetch('http://169.254.169.254/')).rejects.toThrow();
    expect(proxy.asked).toHaveLength(1);
  });

  it('is not asked for a blocked address', async () => {
    const proxy = await startProxy();
    const resolve: Resolver = async () => [{ address: '169.254.169.254', family: 4 }];
    const fetch = fetchWith({ proxy: { httpsProxy: proxy.url }, resolve });
    const failure: unknown = await fetch('https://idp.example/').catch((error: unknown) => error);
    expect(describeNetworkError(failure)).toContain('link-local');
    expect(proxy.asked).toEqual([]);
  });

  it('is named when it refuses or is away, without its password', async () => {
    const refusing = await startProxy({ status: 407 });
    const proxies = [refusing.url.replace('//', '//user:hunter2@'), 'http://user:hunter2@127.0.0.1:1'];
    for (const httpsProxy of proxies) {
      const fetch = fetchWith({ proxy: { httpsProxy }, resolve: toLoopback });
      const failure: unknown = await fetch('https://idp.example/').catch((error: unknown) => error);
      expect(describeNetworkError(failure)).toContain(`proxy ${new URL(httpsProxy).host}`);
      expect(describeNetworkError(failure)).not.toContain('hunter2');
    }
  });

  it.each([
    ['idp.example', true],
    ['.example', true],
    ['*.example', true],
    ['other.example', false],
    ['dp.example', false],
    ['*', true],
    ['unrelated, idp.example:80', false],
    ['127.0.0.0/8', false],
  ])('NO_PROXY=%s', async (noProxy, direct) => {
    const port = await listen(createServer(hello));
    const proxy = await startProxy();
    const fetch = fetchWith({ proxy: { httpProxy: proxy.url, noProxy }, resolve: toLoopback });
    await (await fetch(`http://idp.example:${port}/`)).text();
    expect(proxy.asked).toHaveLength(direct ? 0 : 1);
  });

  it('is never asked for loopback', async () => {
    const port = await listen(createServer(hello));
    const proxy = await startProxy();
    await fetchWith({ proxy: { httpProxy: proxy.url } })(`http://127.0.0.1:${port}/`);
    expect(proxy.asked).toEqual([]);
  });

  it.each([
    ['socks5://proxy:1080', 'not a proxy URL'],
    ['http://user:hunter%zz@proxy:3128', 'a % that begins no escape'],
    ['http://user:hunter%@proxy:3128', 'a % that begins no escape'],
    ['http://user:hunter#2@proxy:3128', 'not a proxy URL'],
    ['http://user:3128/hunter2@proxy:3128', 'more behind host and port'],
    ['http://user:31?hunter2@proxy:3128', 'more behind host and port'],
  ])('must be an http or https URL of host and port: %s', (httpsProxy, problem) => {
    const start = (): unknown => createAgent({ allowLoopback: true, proxy: { httpsProxy } });
    expect(start).toThrow(/^HTTPS_PROXY: .*%25/);
    expect(start).toThrow(problem);
    expect(start).not.toThrow('hunter');
  });
});

it('leaves a plain client able to reach the same servers', async () => {
  // Guards the tests above against a machine on which nothing can be reached.
  const port = await listen(createServer(hello));
  const status = await new Promise((resolve) =>
    httpRequest({ port, host: '127.0.0.1' }, (response) => resolve(response.statusCode)).end(),
  );
  expect(status).toBe(200);
});
