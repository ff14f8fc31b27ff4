import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { AbandonedReads } from './abandoned-reads.ts';
import type { AdmissionControl, InferenceDeps } from './inference.ts';
import type { ResponseEnd } from './relay.ts';
import { HELLO, readAll, TestBed, until, type TestGateway } from './testing/harness.ts';

const bed = new TestBed();
afterEach(() => bed.close());

const SSE = { 'content-type': 'text/event-stream' };
const LONG = 60_000;

/** Requests as the upstream has them, answered by the test. */
async function upstream() {
  const open: { response: ServerResponse; request: IncomingMessage }[] = [];
  const { url } = await bed.serve((request, response) => {
    void readAll(request).then(
      () => open.push({ request, response }),
      () => undefined,
    );
  });
  return { url, open };
}

/** A gateway that tells what passes: chunks as texts, and how each request ended. */
async function watched(urls: readonly string[], overrides: Partial<InferenceDeps> = {}, mayGoOn = true) {
  const passed: string[] = [];
  const started: number[] = [];
  const lost: string[] = [];
  const ends: ResponseEnd[] = [];
  const admission: AdmissionControl = {
    admit: () => ({
      observer: {
        onResponseStart: (status) => {
          started.push(status);
          return { 'x-own': '1' };
        },
        onResponseBytes: (chunk) => void passed.push(chunk.toString('latin1')),
        onLost: (name) => {
          lost.push(name);
          return Promise.resolve(mayGoOn);
        },
        onResponseEnd: (end) => void ends.push(end),
      },
    }),
  };
  const abandonedReads = new AbandonedReads();
  const gateway = await bed.gateway(urls, { admission, abandonedReads, abandonedReadMs: LONG, ...overrides });
  return { gateway, passed, started, lost, ends, abandonedReads };
}

/** A client that can hang up. */
function ask(gateway: TestGateway, body: object = { ...HELLO, stream: true }) {
  const text = JSON.stringify(body);
  const request = httpRequest(`${gateway.url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-length': Buffer.byteLength(text) },
  });
  const response = once(request, 'response') as Promise<[IncomingMessage]>;
  // Who hangs up gets none.
  response.catch(() => undefined);
  request.on('error', () => undefined);
  request.end(text);
  return { request, response };
}

describe('a client that hangs up', () => {
  it('in mid-answer has it read on to its end', async () => {
    const { url, open } = await upstream();
    const { gateway, passed, ends, abandonedReads } = await watched([url]);
    const { request, response } = ask(gateway);
    await until(() => open.length === 1);
    open[0]?.response.writeHead(200, SSE).write('event: a\n\n');
    await response;
    request.destroy();
    await until(() => abandonedReads.size === 1);
    expect(gateway.inference.inFlight).toBe(0);
    expect(ends).toEqual([]);
    open[0]?.response.write('event: b\n\n');
    open[0]?.response.end('event: c\n\n');
    await until(() => ends.length === 1);
    expect(passed.join('')).toBe('event: a\n\nevent: b\n\nevent: c\n\n');
    expect(ends).toMatchObject([
      { ending: 'client_gone', reached: 'answered', upstream: 'up0', status: 200, streamed: true },
    ]);
    expect(abandonedReads.size).toBe(0);
    expect(gateway.log.filter(({ msg }) => msg === 'inference')).toMatchObject([{ ending: 'client_gone' }]);
  });

  it('while it does not read has the rest come at full speed', async () => {
    const megabytes = 48;
    const { url, open } = await upstream();
    const { gateway, passed, ends, abandonedReads } = await watched([url]);
    const { request, response } = ask(gateway);
    await until(() => open.length === 1);
    const answer = open[0]?.response.writeHead(200, SSE);
    for (let i = 0; i < megabytes; i++) answer?.write(Buffer.alloc(1024 * 1024, 'x'));
    answer?.end();
    const [incoming] = await response;
    incoming.pause();
    request.destroy();
    await until(() => ends.length === 1);
    expect(passed.reduce((sum, { length }) => sum + length, 0)).toBe(megabytes * 1024 * 1024);
    expect(abandonedReads.size).toBe(0);
  });

  it.each([
    ['a stream', SSE, 'event: a\n\n'],
    ['JSON', { 'content-type': 'application/json' }, '{}'],
    ['a compressed one', { ...SSE, 'content-encoding': 'gzip' }, gzipSync('event: a\n\n').toString('latin1')],
  ])('before the answer begins is waited for: %s', async (_name, headers, body) => {
    const { url, open } = await upstream();
    const { gateway, passed, started, ends, abandonedReads } = await watched([url]);
    const { request } = ask(gateway);
    await until(() => open.length === 1);
    request.destroy();
    await until(() => abandonedReads.size === 1);
    open[0]?.response.writeHead(200, headers).end(Buffer.from(body, 'latin1'));
    await until(() => ends.length === 1);
    expect(started).toEqual([200]);
    expect(passed.join('')).toBe(body);
    expect(ends).toMatchObject([
      { ending: 'client_gone', reached: 'answered', upstream: 'up0', status: 499 },
    ]);
  });

  it.each([
    ['with an error', 500, 'nowhere', null],
    ['with a refusal', 400, 'declined', 'up0'],
    ['by breaking off', 0, 'unanswered', 'up0'],
  ])('is not failed over for when the upstream answers %s', async (_name, status, reached, name) => {
    const first = await upstream();
    const second = await upstream();
    const { gateway, lost, ends, abandonedReads } = await watched([first.url, second.url]);
    const { request } = ask(gateway);
    await until(() => first.open.length === 1);
    request.destroy();
    await until(() => abandonedReads.size === 1);
    if (status === 0) first.open[0]?.request.socket.destroy();
    else first.open[0]?.response.writeHead(status).end('{}');
    await until(() => ends.length === 1);
    expect(ends).toMatchObject([{ ending: 'client_gone', reached, upstream: name, status: 499 }]);
    expect(lost).toEqual([]);
    expect(second.open).toHaveLength(0);
    expect(abandonedReads.size).toBe(0);
  });

  it.each([
    ['after its time', { abandonedReadMs: 50 }],
    ['at once where nothing is to be read on', { abandonedReadMs: 0 }],
    ['at once where there is no room', { abandonedReads: new AbandonedReads({ maxReads: 0 }) }],
  ])('has its request aborted %s', async (_name, overrides) => {
    const { url, open } = await upstream();
    const { gateway, ends } = await watched([url], overrides);
    for (const begun of [false, true]) {
      const { request, response } = ask(gateway);
      await until(() => open.length === 1);
      const [one] = open.splice(0);
      if (begun) {
        one?.response.writeHead(200, SSE).write('event: a\n\n');
        await response;
      }
      request.destroy();
      if (one !== undefined && !one.request.socket.destroyed) await once(one.request.socket, 'close');
    }
    await until(() => ends.length === 2);
    expect(ends).toMatchObject([
      { ending: 'client_gone', reached: 'unanswered', upstream: 'up0' },
      { ending: 'client_gone', reached: 'answered', upstream: 'up0' },
    ]);
  });

  it('is given up when the process ends', async () => {
    const { url, open } = await upstream();
    const { gateway, ends, abandonedReads } = await watched([url]);
    const { request } = ask(gateway);
    await until(() => open.length === 1);
    request.destroy();
    await until(() => abandonedReads.size === 1);
    await abandonedReads.close(50);
    expect(ends).toMatchObject([{ reached: 'unanswered' }]);
  });
});

describe('an upstream that had the request and gave no answer', () => {
  it('is reported before the next one is asked', async () => {
    const silent = await upstream();
    const second = await upstream();
    const { gateway, lost, ends } = await watched([silent.url, second.url], {
      timeouts: { upstream_ttfb_ms: 100 },
    });
    const { response } = ask(gateway);
    await until(() => second.open.length === 1);
    expect(lost).toEqual(['up0']);
    second.open[0]?.response.end('{}');
    const [incoming] = await response;
    expect(incoming.statusCode).toBe(200);
    incoming.resume();
    await until(() => ends.length === 1);
    expect(ends).toMatchObject([{ reached: 'answered', upstream: 'up1', ending: 'complete' }]);
  });

  it('is the last one where the next may not be asked', async () => {
    const silent = await upstream();
    const second = await upstream();
    const { gateway, lost, ends } = await watched(
      [silent.url, second.url],
      { timeouts: { upstream_ttfb_ms: 100 } },
      false,
    );
    const [incoming] = await ask(gateway).response;
    expect(incoming.statusCode).toBe(502);
    incoming.resume();
    await until(() => ends.length === 1);
    expect(lost).toEqual(['up0']);
    expect(ends).toMatchObject([{ reached: 'unanswered', upstream: 'up0', ending: 'refused', status: 502 }]);
    expect(second.open).toHaveLength(0);
  });

  it('is told with the end when it is the only one', async () => {
    const silent = await upstream();
    const { gateway, lost, ends } = await watched([silent.url], { timeouts: { upstream_ttfb_ms: 100 } });
    const [incoming] = await ask(gateway).response;
    expect(incoming.statusCode).toBe(502);
    incoming.resume();
    await until(() => ends.length === 1);
    expect(lost).toEqual([]);
    expect(ends).toMatchObject([{ reached: 'unanswered', upstream: 'up0', ending: 'refused' }]);
  });

  it('is reported also when the request goes there once more', async () => {
    const { url, open } = await upstream();
    const { gateway, lost } = await watched([url]);
    const { response } = ask(gateway);
    await until(() => open.length === 1);
    open[0]?.request.socket.destroy();
    await until(() => open.length === 2);
    expect(lost).toEqual(['up0']);
    open[1]?.response.end('{}');
    expect((await response)[0].statusCode).toBe(200);
  });

  it('is not one that cannot be reached, nor one that answers an error', async () => {
    const failing = await upstream();
    const last = await upstream();
    const { gateway, lost } = await watched(['http://127.0.0.1:1', failing.url, last.url]);
    const { response } = ask(gateway);
    await until(() => failing.open.length === 1);
    failing.open[0]?.response.writeHead(529).end('{}');
    await until(() => last.open.length === 1);
    last.open[0]?.response.end('{}');
    expect((await response)[0].statusCode).toBe(200);
    expect(lost).toEqual([]);
  });
});
