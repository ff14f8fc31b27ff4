import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';

/** A check that passes, or says what is wrong. */
export type Check = () => string | undefined;

export interface EndpointsOptions {
  /** 0 takes any free one. */
  readonly healthPort: number;
  readonly metricsPort: number;
  /** `/healthz`: the process makes progress. */
  readonly alive: Check;
  /** `/readyz`: it does what it is there for. */
  readonly ready: Check;
  readonly registry: Registry;
}

/** Probes on one port, metrics on another, so that a network policy can tell them apart. */
export class Endpoints {
  readonly healthPort: number;
  readonly metricsPort: number;
  readonly #servers: readonly Server[];

  private constructor(servers: readonly Server[]) {
    this.#servers = servers;
    [this.healthPort, this.metricsPort] = servers.map((server) => (server.address() as AddressInfo).port) as [
      number,
      number,
    ];
  }

  /** @throws Error when a port is taken. */
  static async start({
    healthPort,
    metricsPort,
    alive,
    ready,
    registry,
  }: EndpointsOptions): Promise<Endpoints> {
    const checks: Readonly<Record<string, Check>> = { '/healthz': alive, '/readyz': ready };
    const health = await listen(healthPort, ({ url }, response) => {
      const check = checks[url?.split('?')[0] ?? ''];
      const problem = check === undefined ? 'the paths are /healthz and /readyz' : check();
      const status = check === undefined ? 404 : problem === undefined ? 200 : 503;
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${problem ?? 'ok'}\n`);
    });
    const metrics = await listen(metricsPort, ({ url }, response) => {
      if (url?.split('?')[0] !== '/metrics') {
        response.writeHead(404).end('the path is /metrics\n');
        return;
      }
      registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
      );
    });
    return new Endpoints([health, metrics]);
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#servers.map((server) => {
        server.closeAllConnections();
        return new Promise((resolve) => server.close(resolve));
      }),
    );
  }
}

async function listen(port: number, handle: RequestListener): Promise<Server> {
  const server = createServer(handle);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Dual-stack where there is IPv6.
    server.listen(port, resolve);
  });
  return server;
}
