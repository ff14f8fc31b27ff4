import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { request } from 'node:https';
import { connect as connectPlainly, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type ConnectionOptions } from 'node:tls';
import { createTestCa } from '../net/testing/certificates.ts';
import type { RequestHandler } from './listener.ts';
import { listen, stopListening, type Listening } from './testing/listening.ts';
import type { TrafficLimits } from './traffic-limits.ts';

afterEach(stopListening);

const ca = createTestCa();
const ok: RequestHandler = (_request, response) => void response.end('ok');

const listenWithTls = (traffic: Partial<TrafficLimits> = {}): Promise<Listening> =>
  listen(ok, traffic, {}, { tls: ca.issue('127.0.0.1') });

/** Somebody who means well. @returns what they get. */
async function askedBy(port: number): Promise<number | undefined> {
  const asking = request({ host: '127.0.0.1', port, ca: ca.cert, agent: false }).end();
  const [response] = (await once(asking, 'response')) as [{ statusCode?: number; resume(): void }];
  response.resume();
  return response.statusCode;
}

/** Resolves when all of them are closed by the other end. */
function allClosed(sockets: readonly Socket[]): Promise<unknown> {
  return Promise.all(sockets.map(async (socket) => socket.destroyed || once(socket, 'close')));
}

describe('a flood over TLS', () => {
  it.each([
    ['handshakes that never begin', ''],
    ['handshakes that stop in the middle', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['plain HTTP', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['nonsense', 'x'.repeat(10_000)],
  ])('%s are closed in time, and keep nobody waiting', async (_, bytes) => {
    const { port } = await listenWithTls({ headersMs: 300 });
    const sockets = Array.from({ length: 200 }, () => {
      const socket = connectPlainly(port, '127.0.0.1').on('error', () => undefined);
      socket.on('data', () => undefined);
      if (bytes !== '') socket.write(bytes, 'latin1');
      return socket;
    });
    expect(await askedBy(port)).toBe(200);
    await allClosed(sockets);
  });

  it('handshakes of which one byte comes now and then are closed in time', async () => {
    const { port } = await listenWithTls({ headersMs: 300 });
    const sockets = Array.from({ length: 20 }, () =>
      connectPlainly(port, '127.0.0.1').on('error', () => undefined),
    );
    const timer = setInterval(() => sockets.forEach((socket) => socket.writable && socket.write('\x16')), 50);
    await allClosed(sockets);
    clearInterval(timer);
    expect(await askedBy(port)).toBe(200);
  });

  it('finished handshakes without a request are closed in time', async () => {
    const { port, listener } = await listenWithTls({ headersMs: 300 });
    const sockets = Array.from({ length: 50 }, () => secure(port));
    await Promise.all(sockets.map((socket) => once(socket, 'secureConnect')));
    expect(await askedBy(port)).toBe(200);
    await allClosed(sockets);
    while ((await listener.connections()) > 1) await sleep(20);
  });

  it('handshakes count against the limit of connections before they are finished', async () => {
    const { port, shed } = await listenWithTls({ maxConnections: 30 });
    const sockets = Array.from({ length: 60 }, () =>
      connectPlainly(port, '127.0.0.1').on('error', () => undefined),
    );
    await Promise.race(sockets.slice(30).map((socket) => once(socket, 'close')));
    expect(shed).toContain('connections');
    for (const socket of sockets) socket.destroy();
  });

  it('nobody negotiates again for good', async () => {
    const { port } = await listenWithTls();
    const socket = secure(port, { maxVersion: 'TLSv1.2' });
    await once(socket, 'secureConnect');
    const closed = once(socket, 'close');
    const again = (): void =>
      void socket.renegotiate({}, (error) => (error === null ? again() : socket.destroy()));
    again();
    await closed;
    expect(await askedBy(port)).toBe(200);
  });
});

function secure(port: number, options: ConnectionOptions = {}) {
  return connect({ port, host: '127.0.0.1', ca: ca.cert, ...options })
    .on('error', () => undefined)
    .resume();
}
