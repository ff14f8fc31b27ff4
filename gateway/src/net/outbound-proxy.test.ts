import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect as netConnect, isIP, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createAgent, createFetch, describeNetworkError } from './http-client.ts';
import { outboundProxy, type ProxyConfig } from './outbound-proxy.ts';
import type { ProxyOptions } from './proxy-choice.ts';
import type { Resolver } from './ssrf-guard.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A proxy that opens tunnels to names of `corp.example` and to nothing else, as companies' allowlists do. */
async function proxyByName(): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((_request, response) => void response.writeHead(400).end());
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    const { hostname, port } = new URL(`http://${request.url ?? ''}`);
    asked.push(hostname);
    socket.on('error', () => undefined);
    if (isIP(hostname) !== 0 || !hostname.endsWith('.corp.example')) {
      socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    const destination = netConnect(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(destination).pipe(socket);
    });
    destination.on('error', () => socket.destroy());
  });
  return { url: `http://127.0.0.1:${await listen(server)}`, asked };
}

const OFF: ProxyConfig = { is_egress_boundary: false, idp_connect_by_hostname: false };
const BOUNDARY: ProxyConfig = { ...OFF, is_egress_boundary: true };

/** As where no public name can be resolved. */
const noDns: Resolver = async (hostname) => {
  throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' });
};

function fetchThrough(proxy: ProxyOptions, resolve: Resolver): ReturnType<typeof createFetch> {
  const agent = createAgent({ allowLoopback: true, proxy, resolve });
  cleanups.push(() => agent.destroy());
  return createFetch(agent);
}

function options(
  environment: ProxyOptions,
  config: ProxyConfig,
): { proxy: ProxyOptions; warnings: string[] } {
  const warnings: string[] = [];
  const log = { warn: (message: string) => void warnings.push(message) };
  return { proxy: outboundProxy(environment, { proxy: config }, log), warnings };
}

describe('a proxy that allows names only', () => {
  it.each<[string, ProxyOptions, ProxyConfig]>([
    ['by configuration', {}, BOUNDARY],
    ['by the environment', { resolve: 'proxy' }, OFF],
  ])('is reached without DNS, %s', async (_name, environment, config) => {
    const port = await listen(createServer((_request, response) => void response.end('hello')));
    const { url, asked } = await proxyByName();
    const { proxy, warnings } = options({ httpProxy: url, ...environment }, config);
    const fetch = fetchThrough(proxy, noDns);
    expect(await (await fetch(`http://api.corp.example:${port}/`)).text()).toBe('hello');
    expect(asked).toEqual(['api.corp.example']);
    expect(warnings).toEqual([]);
    await expect(fetch('http://metadata.google.internal/')).rejects.toThrow();
    await expect(fetch('http://169.254.169.254/')).rejects.toThrow();
    expect(asked).toEqual(['api.corp.example']);
  });

  it('is asked for addresses otherwise, and hosts in NO_PROXY are checked and reached directly', async () => {
    const port = await listen(createServer((_request, response) => void response.end('hello')));
    const { url, asked } = await proxyByName();
    const toLoopback: Resolver = async () => [{ address: '127.0.0.1', family: 4 }];
    const plain = fetchThrough(options({ httpProxy: url }, OFF).proxy, toLoopback);
    const failure: unknown = await plain(`http://api.corp.example:${port}/`).catch((error: unknown) => error);
    expect(describeNetworkError(failure)).toContain('answered 403 to CONNECT 127.0.0.1');

    const environment = { httpProxy: url, noProxy: 'api.corp.example' };
    const direct = fetchThrough(options(environment, BOUNDARY).proxy, toLoopback);
    expect(await (await direct(`http://api.corp.example:${port}/`)).text()).toBe('hello');
    expect(asked).toEqual(['127.0.0.1']);
  });

  it('is missed where a switch is set without one', () => {
    expect(options({}, BOUNDARY).warnings).toEqual([
      'proxy.is_egress_boundary has no effect: set HTTPS_PROXY to the forward proxy',
    ]);
    expect(options({ resolveIdentityProviders: 'proxy' }, OFF).warnings).toEqual([
      'proxy.idp_connect_by_hostname has no effect: set HTTPS_PROXY to the forward proxy',
    ]);
    expect(() => options({ httpsProxy: 'http://u:%@proxy:1' }, OFF)).toThrow(/^HTTPS_PROXY: /);
  });

  it('gets no name of an http:// destination where that is not to be', async () => {
    const { url, asked } = await proxyByName();
    const fetch = fetchThrough({ httpProxy: url, resolve: 'proxy', onlyHttps: true }, noDns);
    const failure: unknown = await fetch('http://idp.corp.example/').catch((error: unknown) => error);
    expect(describeNetworkError(failure)).toContain('use https://, or list the host in NO_PROXY');
    expect(asked).toEqual([]);
  });
});
