import { afterEach, describe, expect, it } from '@jest/globals';
import { Router } from 'express';
import { setTimeout as sleep } from 'node:timers/promises';
import { createApp } from './app.ts';
import { ApiError, sendApiError, unauthenticated } from './errors.ts';
import type { RequestHandler } from './listener.ts';
import { logWhenAnswered } from './request-log.ts';
import { listen, rawClient, stopListening, type RawClient } from './testing/listening.ts';

afterEach(stopListening);

const END = 'host: x\r\nconnection: close\r\n\r\n';

async function exchange(port: number, bytes: string): Promise<string> {
  return (await rawClient(port, bytes)).closed;
}

async function until(client: RawClient, text: string): Promise<void> {
  while (!client.text().includes(text)) await sleep(5);
}

const reading: RequestHandler = (request, response) => {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => (bytes += chunk.length));
  request.on('end', () => response.end(`read ${bytes}`));
};

describe('Expect: 100-continue', () => {
  const POST = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n';

  it('is answered when somebody begins to read', async () => {
    const { port } = await listen(reading);
    const client = await rawClient(port, POST);
    await until(client, 'HTTP/1.1 100 Continue\r\n\r\n');
    client.socket.write('hello');
    await until(client, 'read 5');
    client.socket.destroy();
  });

  it.each([
    ['who is not signed in', '401', () => unauthenticated()],
    ['whom there is no room for', '503', () => new ApiError('overloaded_error', 'no', { status: 503 })],
  ])('is not answered to somebody %s', async (_, status, error) => {
    const { port } = await listen((_request, response, { id }) => sendApiError(response, error(), id));
    const text = await exchange(port, POST);
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(text).not.toContain('100 Continue');
  });

  it('is all that may be expected', async () => {
    const { port } = await listen(reading);
    const text = await exchange(port, `GET / HTTP/1.1\r\nexpect: wonders\r\n${END}`);
    expect(text).toMatch(/^HTTP\/1.1 417 /);
  });
});

describe('what a proxy in front may have read otherwise', () => {
  it.each([
    ['two hosts', 'host: a\r\nHOST: a\r\n', '400'],
    ['a coding below chunked', 'host: x\r\ntransfer-encoding: gzip, chunked\r\n', '501'],
    ['codings in two lines', 'host: x\r\ntransfer-encoding: gzip\r\nTransfer-Encoding: chunked\r\n', '501'],
    ['one host, and chunked', 'Host: x\r\nTransfer-Encoding: Chunked\r\n', '200'],
  ])('is answered: %s', async (_, headers, status) => {
    const { port } = await listen(reading);
    const text = await exchange(port, `POST / HTTP/1.1\r\n${headers}connection: close\r\n\r\n0\r\n\r\n`);
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });
});

describe('a form of somebody who is not known', () => {
  it.each(['/oauth/token', '/OAUTH/Token', '/device', '/Device'])('is short: %s', async (path) => {
    const app = createApp([]);
    const { port } = await listen((request, response) => void app(request, response));
    const text = await exchange(port, `POST ${path} HTTP/1.1\r\ncontent-length: 70000\r\n${END}`);
    expect(text).toMatch(/^HTTP\/1.1 413 /);
    expect(text).toContain('64 KiB');
  });
});

describe('an error of the client behind', () => {
  const RUBBISH = '\x16\x03\x01 rubbish\r\n\r\n';

  it('a running answer only closes the connection', async () => {
    const { port } = await listen((_request, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('the beginning');
    });
    const client = await rawClient(port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(client, 'the beginning');
    client.socket.write(RUBBISH);
    const text = await client.closed;
    expect(text.split('HTTP/1.1').length).toBe(2);
    expect(text.endsWith('the beginning')).toBe(true);
  });

  it('a request that waits for its answer is not taken for that answer', async () => {
    const { port, listener } = await listen(() => undefined);
    const client = await rawClient(port, `GET / HTTP/1.1\r\nhost: x\r\n\r\n${RUBBISH}`);
    expect(await client.closed).toBe('');
    while (listener.inFlight > 0) await sleep(5);
  });

  it('headers is told of, when it is in their body', async () => {
    const { port } = await listen(reading);
    const text = await exchange(
      port,
      'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n',
    );
    expect(text.match(/^HTTP\/1.1 \d+/gm)).toEqual(['HTTP/1.1 400']);
  });

  it('nothing is told of, and does not keep the connection', async () => {
    const { port } = await listen(reading);
    expect(await exchange(port, RUBBISH)).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe('targets and methods', () => {
  const router = Router().get('/known', (request, response) => void response.send(request.originalUrl));
  const app = createApp([router]);
  const served: RequestHandler = (request, response) => void app(request, response);
  const statusOf = (text: string): string => /^HTTP\/1.1 (\d+)/.exec(text)?.[1] ?? text;

  it.each([
    ['GET /known HTTP/1.1', '200'],
    ['HEAD /known HTTP/1.1', '200'],
    ['GET http://user:secret@gateway.example/known?a=b HTTP/1.1', '200'],
    ['GET HTTPS://gateway.example/known HTTP/1.1', '200'],
    ['GET http://gateway.example HTTP/1.1', '404'],
    ['GET //known HTTP/1.1', '404'],
    ['GET //gateway.example/known HTTP/1.1', '404'],
    ['GET /%2e%2e/known HTTP/1.1', '404'],
    ['GET /%E0%A4%A HTTP/1.1', '404'],
    ['OPTIONS * HTTP/1.1', '404'],
    ['TRACE /known HTTP/1.1', '405'],
    ['CONNECT 169.254.169.254:80 HTTP/1.1', '405'],
  ])('%s: %s', async (line, status) => {
    const { port, lines } = await listen(served);
    const text = await exchange(port, `${line}\r\n${END}`);
    expect(statusOf(text)).toBe(status);
    expect(JSON.stringify(lines) + text).not.toContain('secret');
  });

  it('a log line has the path as it came, without its query, also below a mounted router', async () => {
    const inner = Router().use((_request, response) => void response.send('answered in a router below'));
    const mounted = createApp([Router().use('/mounted', inner)]);
    const { url, lines } = await listen((request, response, context) => {
      logWhenAnswered(request, response, context);
      mounted(request, response);
    });
    await (await fetch(`${url}/mounted/a%2Fb%20c//d?token=secret`)).text();
    while (lines.length === 0) await sleep(5);
    expect(lines).toMatchObject([{ path: '/mounted/a%2Fb%20c//d', status: 200 }]);
    expect(JSON.stringify(lines)).not.toContain('secret');
  });

  it('an upgrade is not made, and the request is served', async () => {
    const { port } = await listen(served);
    const upgrade = 'GET /known HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n';
    const client = await rawClient(port, upgrade);
    await until(client, 'HTTP/1.1 200');
    client.socket.destroy();
  });
});
