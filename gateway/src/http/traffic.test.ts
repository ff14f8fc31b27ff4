import { afterEach, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { AddressSet } from './client-address.ts';
import { contextOf } from './context.ts';
import { ApiError, sendApiError, unauthenticated } from './errors.ts';
import type { RequestHandler } from './listener.ts';
import { listen, rawClient, stopListening, type RawClient } from './testing/listening.ts';

afterEach(stopListening);

const KIB = 1024;
const UNFINISHED = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nabc';

/** Waits until a condition holds; the test's own time limit ends it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

const refusing =
  (error: () => ApiError): RequestHandler =>
  (request, response, { id }) => {
    // As body parsers do that have read some of it.
    request.once('data', () => request.pause());
    sendApiError(response, error(), id);
  };

/** Reads the body of whoever `x-person` says, and answers with its length. */
const reading: RequestHandler = (request, response, { id, traffic }) => {
  try {
    const { 'x-person': person, 'content-length': length } = request.headers;
    if (typeof person === 'string') traffic?.identified(person);
    else traffic?.admitAnonymous();
    traffic?.reserveBody(Number(length));
  } catch (error) {
    sendApiError(response, error as ApiError, id);
    return;
  }
  let bytes = 0;
  request.on('data', (chunk: Buffer) => (bytes += chunk.length));
  request.on('end', () => response.end(String(bytes)));
};

describe('whoever is refused before the body was read', () => {
  it.each([
    ['401', () => unauthenticated()],
    ['404', () => new ApiError('not_found_error', 'nothing')],
    ['405', () => new ApiError('invalid_request_error', 'no', { status: 405 })],
    ['413', () => new ApiError('request_too_large', 'no')],
    ['429', () => new ApiError('rate_limit_error', 'no')],
    ['503', () => new ApiError('overloaded_error', 'no', { status: 503 })],
  ])('%s: gets the answer, and the connection does not stay', async (status, error) => {
    const { port, listener } = await listen(refusing(error));
    const client = await rawClient(port, UNFINISHED);
    const text = await client.closed;
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    await until(() => listener.inFlight === 0);
  });

  it('is refused so by access lists, too', async () => {
    const { port } = await listen(reading, {}, { deny: new AddressSet(['127.0.0.1']) });
    expect(await (await rawClient(port, UNFINISHED)).closed).toMatch(/^HTTP\/1.1 403 /);
  });

  it('keeps the connection when the rest of the body comes at once', async () => {
    const { port } = await listen(refusing(() => unauthenticated()));
    const client = await rawClient(port, UNFINISHED);
    await until(() => client.text().includes('authentication_error'));
    client.socket.write('x'.repeat(100_000 - 3));
    client.socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(() => client.text().split('HTTP/1.1 401').length === 3);
    await sleep(300);
    expect(client.socket.closed).toBe(false);
    client.socket.destroy();
  });
});

describe('a body that comes too slowly', () => {
  it.each([
    ['below the rate', { minBodyBytesPerSecond: 10 * KIB, bodyGraceMs: 50 }],
    ['longer than bodies may take', { bodyMs: 50 }],
  ])('%s: answers 408, once, and closes', async (_, traffic) => {
    const { port, shed, listener } = await listen(reading, traffic);
    const client = await rawClient(port, UNFINISHED);
    const text = await client.closed;
    expect(text).toMatch(/^HTTP\/1.1 408 /);
    expect(text.split('HTTP/1.1').length).toBe(2);
    expect(shed).toEqual(['slow_body']);
    expect([listener.inFlight, listener.bufferedBodyBytes]).toEqual([0, 0]);
  });

  it('is heard out at the rate', async () => {
    const { port, shed } = await listen(reading, { minBodyBytesPerSecond: 10 * KIB, bodyGraceMs: 200 });
    const client = await rawClient(port, 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 40000\r\n\r\n');
    for (let i = 0; i < 10; i++) {
      client.socket.write('x'.repeat(4_000));
      await sleep(40);
    }
    await until(() => client.text().endsWith('40000'));
    expect(shed).toEqual([]);
    client.socket.destroy();
  });

  it('gets the answer of whoever waits for it', async () => {
    const { port } = await listen(
      (_request, response, { traffic }) => {
        if (traffic !== undefined) traffic.onBodyRefused = (error) => response.end(`mine ${error.status}`);
      },
      { bodyMs: 50 },
    );
    expect(await (await rawClient(port, UNFINISHED)).closed).toContain('mine 408');
  });
});

describe('headers that do not come', () => {
  it.each([
    ['none at all', ''],
    ['half of them', 'GET / HTTP/1.1\r\nhost: x\r\n'],
  ])('%s: 408, and the connection is closed', async (_, bytes) => {
    const { port, shed } = await listen(reading, { headersMs: 100 });
    expect(await (await rawClient(port, bytes)).closed).toMatch(/^HTTP\/1.1 408 /);
    expect(shed).toEqual(['slow_headers']);
  });
});

describe('what comes between two requests', () => {
  const GET = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';
  const answersIn = (text: string): number => text.split('HTTP/1.1 200').length - 1;
  const drip = (client: RawClient, bytes: string): void => {
    const timer = setInterval(() => client.socket.write(bytes), 5);
    void client.closed.then(() => clearInterval(timer));
  };

  it.each([
    ['empty lines without end are no activity', { headersMs: 100 }, '\r\n'],
    ['nor are headers without end', { headersMs: 100 }, 'a: b\r\n'],
  ])('%s: the connection is closed', async (_, limits, bytes) => {
    const { port, shed } = await listen(reading, limits);
    const client = await rawClient(port, GET);
    await until(() => answersIn(client.text()) === 1);
    client.socket.write(bytes.startsWith('a') ? 'GET / HTTP/1.1\r\nhost: x\r\n' : '');
    drip(client, bytes);
    await client.closed;
    expect(shed).toEqual(['slow_headers']);
  });

  it('a byte now and then is no activity either', async () => {
    const { port, shed } = await listen(reading, { headersMs: 50, keepAliveMs: 200 });
    const client = await rawClient(port, GET);
    await until(() => answersIn(client.text()) === 1);
    // Too few to be the beginning of something.
    const timer = setInterval(
      () => client.socket.bytesWritten < GET.length + 14 && client.socket.write('\r'),
      40,
    );
    await client.closed;
    clearInterval(timer);
    expect(['slow_headers', undefined]).toContain(shed[0]);
  });

  it('an empty line is nothing, and the next request is answered', async () => {
    const { port, shed } = await listen(reading, { headersMs: 60 });
    const client = await rawClient(port, GET);
    for (let asked = 1; asked < 6; asked++) {
      await until(() => answersIn(client.text()) === asked);
      client.socket.write('\r\n');
      await new Promise((go) => setTimeout(go, 100));
      client.socket.write(GET);
    }
    client.socket.destroy();
    expect(shed).toEqual([]);
  });

  it('headers that are not finished have a budget of bytes, and the largest go first', async () => {
    const { port, shed } = await listen(reading, { maxUnfinishedHeaderBytes: 100_000 });
    const small = await rawClient(port, 'GET / HTTP/1.1\r\nhost: x\r\n');
    const large: RawClient[] = [];
    for (let i = 0; i < 4; i++)
      large.push(await rawClient(port, `GET / HTTP/1.1\r\nhost: x\r\na: ${'x'.repeat(40_000)}`));
    await Promise.race(large.map(({ closed }) => closed));
    await until(() => large.filter(({ socket }) => socket.destroyed).length === 2);
    small.socket.write('\r\n');
    await until(() => answersIn(small.text()) === 1);
    expect(shed).toEqual(['unfinished_headers', 'unfinished_headers']);
    for (const { socket } of [small, ...large]) socket.destroy();
  });
});

describe('the budget of buffered bytes', () => {
  const limits = { maxBufferedBodyBytes: 400_000, maxBodyBytes: 100_000 };
  const unfinished = (person: string): string =>
    `POST / HTTP/1.1\r\nhost: x\r\nx-person: ${person}\r\ncontent-length: 100000\r\n\r\nabc`;

  it('gives one person half, and everybody together all of it, before anything is read', async () => {
    const { port, url, listener, shed } = await listen(reading, limits);
    const first = [await rawClient(port, unfinished('a')), await rawClient(port, unfinished('a'))];
    await until(() => listener.bufferedBodyBytes === 200_000);
    const third = await rawClient(port, unfinished('a'));
    const refused = await third.closed;
    expect(refused).toMatch(/^HTTP\/1.1 503 /);
    expect(refused).toMatch(/\r\nretry-after: 2\r\n/);
    expect(refused).toContain('overloaded_error');

    const others = [await rawClient(port, unfinished('b')), await rawClient(port, unfinished('c'))];
    await until(() => listener.bufferedBodyBytes === 400_000);
    const post = (body: string) => fetch(url, { method: 'POST', headers: { 'x-person': 'honest' }, body });
    expect((await post('x'.repeat(1000))).status).toBe(503);
    expect(shed).toEqual(['buffered_bytes_per_person', 'buffered_bytes']);

    others[0]?.socket.destroy();
    await until(() => listener.bufferedBodyBytes === 300_000);
    const served = await post('x'.repeat(1000));
    expect([served.status, await served.text()]).toEqual([200, '1000']);
    for (const { socket } of [...first, ...others]) socket.destroy();
    await until(() => listener.bufferedBodyBytes === 0);
  });

  it('is as large as the configuration says now', async () => {
    const { url, listener } = await listen(reading, limits);
    const post = () =>
      fetch(url, { method: 'POST', headers: { 'x-person': 'a' }, body: 'x'.repeat(300_000) });
    expect((await post()).status).toBe(503);
    const none = new AddressSet([]);
    const wider = await import('./testing/usual-traffic.ts');
    listener.update(
      {
        trustedProxies: none,
        allow: none,
        deny: none,
        maxUrlLength: undefined,
        traffic: wider.USUAL_TRAFFIC,
      },
      reading,
    );
    expect((await post()).status).toBe(200);
  });
});

describe('requests in flight', () => {
  const waiting: (() => void)[] = [];
  afterEach(() => waiting.splice(0).forEach((answer) => answer()));
  const holding: RequestHandler = (request, response, { id, traffic }) => {
    try {
      const { 'x-person': person } = request.headers;
      if (typeof person === 'string') traffic?.identified(person);
      else traffic?.admitAnonymous();
      waiting.push(() => response.end('ok'));
    } catch (error) {
      sendApiError(response, error as ApiError, id);
    }
  };

  it('are bounded for one person, and only for them', async () => {
    const { url, listener, shed } = await listen(holding, {
      maxInFlightPerPerson: 2,
      maxInFlightPerAddress: 1,
    });
    const ask = (person: string) => fetch(url, { headers: { 'x-person': person } });
    const held = [ask('a'), ask('a'), ask('b')];
    await until(() => listener.inFlight === 3);
    const refused = await ask('a');
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('2');
    expect(refused.headers.get('x-should-retry')).toBe('true');
    expect(shed).toEqual(['in_flight_per_person']);
    waiting.splice(0).forEach((answer) => answer());
    for (const { status } of await Promise.all(held)) expect(status).toBe(200);
    const again = ask('a');
    await until(() => waiting.length === 1);
    waiting.splice(0).forEach((answer) => answer());
    expect((await again).status).toBe(200);
  });

  it('are bounded for one address that has not said who asks, behind proxies that are trusted', async () => {
    const { url, listener, shed } = await listen(
      holding,
      { maxInFlightPerAddress: 2 },
      { trustedProxies: new AddressSet(['127.0.0.1']) },
    );
    const ask = (from: string) => fetch(url, { headers: { 'x-forwarded-for': from } });
    const held = [ask('192.0.2.1'), ask('192.0.2.1'), ask('192.0.2.2')];
    await until(() => listener.inFlight === 3);
    expect((await ask('192.0.2.1')).status).toBe(429);
    // One subscriber has a whole /64.
    held.push(ask('2001:db8::1'), ask('2001:db8::2'));
    await until(() => listener.inFlight === 5);
    expect((await ask('2001:db8::3')).status).toBe(429);
    held.push(ask('2001:db8:0:1::1'));
    await until(() => listener.inFlight === 6);
    expect(shed).toEqual(['in_flight_per_address', 'in_flight_per_address']);
    waiting.splice(0).forEach((answer) => answer());
    for (const { status } of await Promise.all(held)) expect(status).toBe(200);
  });

  it('are bounded for one connection', async () => {
    const { port, shed, listener } = await listen(holding);
    const client = await rawClient(port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(40));
    await client.closed;
    expect(shed).toContain('pipelining');
    await until(() => listener.inFlight === 0);
  });
});

describe('a client that takes nothing of its answer', () => {
  it('is cut off, and one that does is not', async () => {
    const endless: RequestHandler = (_request, response) => {
      const more = (): void => {
        while (response.write(Buffer.alloc(64 * KIB))) if (response.destroyed) return;
        response.once('drain', more);
      };
      more();
    };
    const { port, shed, listener } = await listen(endless, { clientStallMs: 200 });
    const stalled = await rawClient(port);
    stalled.socket.pause();
    stalled.socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    const reader = await rawClient(port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(() => shed.length > 0);
    expect(shed).toEqual(['slow_reader']);
    await until(() => listener.inFlight === 1);
    await sleep(300);
    expect(reader.socket.closed).toBe(false);
    stalled.socket.destroy();
    reader.socket.destroy();
  });
});

it('says in the log what it sheds, once in a while', async () => {
  const { port, lines } = await listen(reading, { bodyMs: 20 });
  for (let i = 0; i < 3; i++) await (await rawClient(port, UNFINISHED)).closed;
  const warnings = lines.filter(({ level }) => level === 'warn');
  expect(warnings).toMatchObject([
    { reason: 'slow_body', limit: 'timeouts.request_body_ms', count: 1, client_ip: '127.0.0.1' },
  ]);
});

it('knows the request that it is asked about', async () => {
  const { url } = await listen((request, response) => {
    const { target } = contextOf(request);
    request.url = '/rewritten';
    response.end(target);
  });
  expect(await (await fetch(`${url}/a%2Fb%20c?x=%31`)).text()).toBe('/a%2Fb%20c?x=%31');
});
