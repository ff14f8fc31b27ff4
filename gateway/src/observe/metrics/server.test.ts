import { afterEach, expect, it } from '@jest/globals';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { Counter, Registry } from 'prom-client';
import { MetricsServer } from './server.ts';

let server: MetricsServer | undefined;
let other: Server | undefined;
afterEach(async () => {
  await server?.close();
  other?.close();
  server = other = undefined;
});

const registry = new Registry();
new Counter({ name: 'things_total', help: 'Things.', registers: [registry] }).inc(3);

it('serves the registry at /metrics, and nothing else', async () => {
  server = await MetricsServer.start({ host: '127.0.0.1', port: 0, registry });
  const url = `http://127.0.0.1:${server.port}`;
  const answer = await fetch(`${url}/metrics?collect=all`);
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(await answer.text()).toContain('things_total 3\n');
  for (const path of ['/', '/metrics/', '/healthz', '/v1/messages'])
    expect((await fetch(url + path)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: 'POST', body: 'x' })).status).toBe(404);
});

it('names the setting when its port is taken', async () => {
  other = createServer();
  await new Promise<void>((done) => other?.listen(0, '127.0.0.1', done));
  const { port } = other.address() as AddressInfo;
  await expect(MetricsServer.start({ host: '127.0.0.1', port, registry })).rejects.toThrow(
    `metrics.port: port ${port} of 127.0.0.1 is in use`,
  );
});

it('names the setting when it cannot listen at the address', async () => {
  await expect(MetricsServer.start({ host: '192.0.2.1', port: 0, registry })).rejects.toThrow(
    'metrics: cannot listen at 192.0.2.1',
  );
});

it('closes while somebody keeps a connection', async () => {
  server = await MetricsServer.start({ host: '127.0.0.1', port: 0, registry });
  const { port } = server;
  await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  await server.close();
  await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow();
  server = undefined;
});

it('says so when a metric cannot be read', async () => {
  const broken = new Registry();
  new Counter({
    name: 'broken_total',
    help: 'Broken.',
    registers: [broken],
    collect() {
      throw new Error('no value');
    },
  });
  server = await MetricsServer.start({ host: '127.0.0.1', port: 0, registry: broken });
  const answer = await fetch(`http://127.0.0.1:${server.port}/metrics`);
  expect([answer.status, await answer.text()]).toEqual([500, 'Error: no value\n']);
});
