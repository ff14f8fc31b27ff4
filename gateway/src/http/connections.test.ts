import { afterEach, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { AddressSet } from './client-address.ts';
import type { RequestHandler } from './listener.ts';
import { listen, rawClient, stopListening, type RawClient } from './testing/listening.ts';

afterEach(stopListening);

const ok: RequestHandler = (_request, response) => void response.end('ok');
const GET = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';

async function several(port: number, count: number): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  while (clients.length < count) clients.push(await rawClient(port));
  return clients;
}

it('beyond the limit there is a refusal that can be read, and room again once somebody goes', async () => {
  const { port, shed, listener } = await listen(ok, { maxConnections: 20 });
  const open = await several(port, 20);
  const refused = await rawClient(port);
  const text = await refused.closed;
  expect(text).toMatch(/^HTTP\/1.1 503 /);
  expect(text).toMatch(/\r\nretry-after: 2\r\n/);
  expect(text).toContain('overloaded_error');
  expect(shed).toEqual(['connections']);
  open.pop()?.socket.destroy();
  while ((await listener.connections()) > 19) await sleep(5);
  const next = await rawClient(port, GET);
  while (!next.text().endsWith('ok')) await sleep(5);
  for (const { socket } of [...open, next]) socket.destroy();
});

it('what a refused connection sends is not answered', async () => {
  let served = 0;
  const { port } = await listen(
    (_request, response) => {
      served++;
      response.end();
    },
    { maxConnections: 16 },
  );
  const open = await several(port, 16);
  const refused = await rawClient(port, GET.repeat(2));
  expect((await refused.closed).split('HTTP/1.1').length).toBe(2);
  expect(served).toBe(0);
  for (const { socket } of open) socket.destroy();
});

it('idle connections make room for new ones', async () => {
  const { port, shed } = await listen(ok, { maxConnections: 20 });
  const idle = await several(port, 20);
  for (const { socket } of idle) socket.write(GET);
  for (const { text } of idle) while (!text().endsWith('ok')) await sleep(5);
  // They are looked for once a second: until then a new one may be refused.
  let served = '';
  while (!served.endsWith('ok')) {
    const next = await rawClient(port, 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    served = (await next.closed).trimEnd();
    await sleep(50);
  }
  for (const { closed } of idle) await closed;
  expect(new Set(shed)).toEqual(new Set(['connections']));
});

it('one address may not take them all, other than a trusted proxy', async () => {
  const limits = { maxConnections: 100, maxConnectionsPerAddress: 4 };
  const strict = await listen(ok, limits);
  const open = await several(strict.port, 4);
  expect(await (await rawClient(strict.port)).closed).toMatch(/^HTTP\/1.1 503 /);
  expect(strict.shed).toEqual(['connections_per_address']);

  const trusting = await listen(ok, limits, { trustedProxies: new AddressSet(['127.0.0.0/8']) });
  const proxied = await several(trusting.port, 8);
  const next = await rawClient(trusting.port, GET);
  while (!next.text().endsWith('ok')) await sleep(5);
  expect(trusting.shed).toEqual([]);
  for (const { socket } of [...open, ...proxied, next]) socket.destroy();
});
