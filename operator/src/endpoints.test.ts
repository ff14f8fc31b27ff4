import { afterEach, describe, expect, it } from '@jest/globals';
import { Counter, Registry } from 'prom-client';
import { Endpoints } from './endpoints.ts';

describe('Endpoints', () => {
  let endpoints: Endpoints | undefined;
  let problem: string | undefined;

  afterEach(() => endpoints?.stop());

  async function start(): Promise<Endpoints> {
    const registry = new Registry();
    new Counter({ name: 'things_total', help: 'Things.', registers: [registry] }).inc(3);
    endpoints = await Endpoints.start({
      healthPort: 0,
      metricsPort: 0,
      alive: () => undefined,
      ready: () => problem,
      registry,
    });
    return endpoints;
  }

  async function get(port: number, path: string): Promise<[number, string]> {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return [response.status, await response.text()];
  }

  it('answers probes, with what is wrong', async () => {
    const { healthPort } = await start();
    expect(await get(healthPort, '/healthz')).toEqual([200, 'ok\n']);
    expect(await get(healthPort, '/readyz?verbose')).toEqual([200, 'ok\n']);
    problem = 'the caches are not complete yet';
    expect(await get(healthPort, '/readyz')).toEqual([503, 'the caches are not complete yet\n']);
    expect(await get(healthPort, '/constructor')).toEqual([404, 'the paths are /healthz and /readyz\n']);
  });

  it('hands out metrics on a port of their own', async () => {
    const { healthPort, metricsPort } = await start();
    const [status, text] = await get(metricsPort, '/metrics');
    expect(status).toBe(200);
    expect(text).toContain('things_total 3');
    expect((await get(healthPort, '/metrics'))[0]).toBe(404);
    expect((await get(metricsPort, '/healthz'))[0]).toBe(404);
  });

  it('says that a port is taken', async () => {
    const { healthPort } = await start();
    const again = Endpoints.start({
      healthPort,
      metricsPort: 0,
      alive: () => undefined,
      ready: () => undefined,
      registry: new Registry(),
    });
    await expect(again).rejects.toThrow(`EADDRINUSE`);
  });
});
