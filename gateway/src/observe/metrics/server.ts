import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { pathOf } from '../../http/request-target.ts';

const PATH = '/metrics';

/** Serves one registry to Prometheus, and nothing else. */
export class MetricsServer {
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  /**
   * @param options.port 0 takes any free one.
   * @throws Error naming `metrics.port` when the port is taken, and `metrics` when it cannot be bound otherwise.
   */
  static async start({
    host,
    port,
    registry,
  }: {
    readonly host: string;
    readonly port: number;
    readonly registry: Registry;
  }): Promise<MetricsServer> {
    const server = createServer((request, response) => {
      request.resume();
      const { method } = request;
      if (pathOf(request.url ?? '') !== PATH || (method !== 'GET' && method !== 'HEAD')) {
        response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end(`GET ${PATH}\n`);
        return;
      }
      registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
      );
    });
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, resolve);
      });
    } catch (error) {
      throw new Error(reasonOf(error as NodeJS.ErrnoException, host, port), { cause: error });
    }
    return new MetricsServer(server);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}

function reasonOf({ code, message }: NodeJS.ErrnoException, host: string, port: number): string {
  if (code === 'EADDRINUSE')
    return `metrics.port: port ${port} of ${host} is in use by another program; choose another one`;
  return `metrics: cannot listen at ${host}, port ${port}: ${message}`;
}
