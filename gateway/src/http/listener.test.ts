import { afterEach, describe, expect, it } from '@jest/globals';
import { connect } from 'node:net';
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLog } from '../observe/log.ts';
import { AddressSet } from './client-address.ts';
import { contextOf } from './context.ts';
import { USUAL_TRAFFIC } from './testing/usual-traffic.ts';
import { Listener, type ListenerOptions, type ListenerRules, type RequestHandler } from './listener.ts';

const none = new AddressSet([]);
const open: ListenerRules = {
  trustedProxies: none,
  allow: none,
  deny: none,
  maxUrlLength: undefined,
  traffic: USUAL_TRAFFIC,
};
const events: [string, Record<string, unknown>][] = [];
const running: Listener[] = [];

async function start(
  handler: RequestHandler,
  rules: Partial<ListenerRules> = {},
  options: Partial<ListenerOptions> = {},
): Promise<{ listener: Listener; url: string; port: number }> {
  const listener = new Listener(
    {
      host: '127.0.0.1',
      port: 0,
      maxHeaderBytes: undefined,
      log: createLog('silent'),
      audit: (event, fields) => events.push([event, fields]),
      ...options,
    },
    { ...open, ...rules },
    handler,
  );
  running.push(listener);
  const port = await listener.listen();
  return { listener, url: `http://127.0.0.1:${port}`, port };
}

afterEach(async () => {
  events.length = 0;
  await Promise.all(running.splice(0).map((listener) => listener.drain(0, 0)));
});

const echo: RequestHandler = (request, response) => {
  response.end(contextOf(request).clientAddress);
};

describe('addresses and access', () => {
  it('gives each request an id of its own', async () => {
    const { url } = await start(echo);
    const ids = await Promise.all([1, 2].map(async () => (await fetch(url)).headers.get('request-id')));
    expect(ids[0]).toMatch(/^req_[0-9a-f]{32}$/);
    expect(ids[0]).not.toBe(ids[1]);
  });

  it('believes X-Forwarded-For of trusted proxies only', async () => {
    const trusting = await start(echo, { trustedProxies: new AddressSet(['127.0.0.0/8']) });
    const wary = await start(echo);
    const headers = { 'x-forwarded-for': '203.0.113.9' };
    expect(await (await fetch(trusting.url, { headers })).text()).toBe('203.0.113.9');
    expect(await (await fetch(wary.url, { headers })).text()).toBe('127.0.0.1');
  });

  it('refuses denied clients everywhere and others outside the allow list, but not on probes', async () => {
    const rules = {
      trustedProxies: new AddressSet(['127.0.0.1']),
      allow: new AddressSet(['203.0.113.0/24']),
      deny: new AddressSet(['203.0.113.66']),
    };
    const { url } = await start(echo, rules);
    const status = async (path: string, from: string) =>
      (await fetch(url + path, { headers: { 'x-forwarded-for': from } })).status;
    expect(await status('/v1/models', '203.0.113.9')).toBe(200);
    expect(await status('/v1/models', '198.51.100.1')).toBe(403);
    expect(await status('/v1/models', '203.0.113.66')).toBe(403);
    expect(await status('/healthz?x=1', '198.51.100.1')).toBe(200);
    expect(await status('/healthz', '203.0.113.66')).toBe(403);
    expect(events.map(([event, fields]) => [event, fields['reason']])).toEqual([
      ['access.denied', 'allow_cidrs'],
      ['access.denied', 'deny_cidrs'],
      ['access.denied', 'deny_cidrs'],
    ]);
  });
});

describe('limits', () => {
  it('answers 414 to a long URL', async () => {
    const { url } = await start(echo, { maxUrlLength: 100 });
    expect((await fetch(`${url}/${'a'.repeat(99)}`)).status).toBe(200);
    const refused = await fetch(`${url}/${'a'.repeat(100)}`);
    expect(refused.status).toBe(414);
    expect(await refused.json()).toMatchObject({ type: 'error', error: { type: 'invalid_request_error' } });
  });

  it('answers 431 to large headers, and takes 40 KB of them by default', async () => {
    const strict = await start(echo, {}, { maxHeaderBytes: 2000 });
    const usual = await start(echo);
    const headers = { 'x-big': 'a'.repeat(40_000) };
    expect((await fetch(usual.url, { headers })).status).toBe(200);
    const refused = await fetch(strict.url, { headers });
    expect(refused.status).toBe(431);
    expect(await refused.json()).toMatchObject({
      error: { message: expect.stringContaining('max_request_header_bytes') },
    });
  });

  it('answers 400 to what is not HTTP', async () => {
    const { port } = await start(echo);
    const socket = connect(port, '127.0.0.1');
    socket.write('\x16\x03\x01 hello\r\n\r\n');
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    await once(socket, 'close');
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(text).toContain('invalid_request_error');
  });
});

it('a handler that throws costs one answer, not the process', async () => {
  const { url } = await start(() => {
    throw new Error('boom');
  });
  const response = await fetch(url);
  expect(response.status).toBe(500);
  expect(await response.text()).not.toContain('boom');
});

describe('drain', () => {
  it('finishes what is in flight, closes connections, refuses new ones', async () => {
    let finish = (): void => undefined;
    const { listener, port } = await start((_request, response) => {
      response.write('first ');
      finish = () => response.end('last');
    });
    const agent = new Agent({ keepAlive: true });
    const stream = await new Promise<NodeJS.ReadableStream>((resolve) => {
      httpRequest({ port, agent, host: '127.0.0.1' }, resolve).end();
    });
    expect(listener.inFlight).toBe(1);
    const drained = listener.drain(0, 60_000);
    expect(listener.draining).toBe(true);
    await sleep(50);
    await expect(
      new Promise((_resolve, reject) =>
        httpRequest({ port, host: '127.0.0.1', agent: false }).on('error', reject).end(),
      ),
    ).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    finish();
    let text = '';
    for await (const chunk of stream) text += String(chunk);
    expect(text).toBe('first last');
    expect(await drained).toBe(0);
    agent.destroy();
  });

  it('still serves during the delay, closing each connection', async () => {
    const { listener, url } = await start(echo);
    const drained = listener.drain(300, 1000);
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(response.headers.get('connection')).toBe('close');
    expect(await drained).toBe(0);
  });

  it('closes the connection of what was not answered yet when it began', async () => {
    const answers: (() => void)[] = [];
    const { listener, url } = await start((_request, response) => {
      answers.push(() => response.end('ok'));
    });
    const responses = [fetch(url), fetch(url), fetch(url)];
    while (listener.inFlight < 3) await sleep(5);
    answers.shift()?.();
    while (listener.inFlight > 2) await sleep(5);
    const drained = listener.drain(0, 60_000);
    for (const answer of answers) answer();
    const connections = (await Promise.all(responses)).map(({ headers }) => headers.get('connection'));
    expect(connections.toSorted()).toEqual(['close', 'close', 'keep-alive']);
    expect(await drained).toBe(0);
    expect(listener.inFlight).toBe(0);
  });

  it('cuts what does not end within the grace, and says how many', async () => {
    const { listener, port } = await start((_request, response) => {
      response.write('never ending');
    });
    const request = httpRequest({ port, host: '127.0.0.1', agent: false }).end();
    const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream];
    response.on('error', () => undefined).resume();
    expect(await listener.drain(0, 50)).toBe(1);
  });
});

describe('log lines', () => {
  it('carry an id that the client sent, and none that is not fit for a log', async () => {
    const lines: Record<string, unknown>[] = [];
    const log = createLog('info', {
      write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
    });
    const { url } = await start(
      (request, response) => {
        contextOf(request).log.info('seen');
        response.end();
      },
      {},
      { log },
    );
    await fetch(url, { headers: { 'x-request-id': 'theirs-1' } });
    await fetch(url, { headers: { 'x-client-request-id': 'b7c1' } });
    await fetch(url, { headers: { 'x-request-id': 'a b"c' } });
    expect(lines.map((line) => line['client_request_id'])).toEqual(['theirs-1', 'b7c1', undefined]);
  });

  it('say how a refused request was answered, without its query', async () => {
    const lines: Record<string, unknown>[] = [];
    const log = createLog('info', {
      write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
    });
    const { url } = await start(echo, { deny: new AddressSet(['127.0.0.1']) }, { log });
    await fetch(`${url}/oauth/callback?code=secret`);
    while (lines.length === 0) await sleep(5);
    expect(lines).toMatchObject([{ msg: 'request', method: 'GET', path: '/oauth/callback', status: 403 }]);
    expect(JSON.stringify(lines)).not.toContain('secret');
  });
});
