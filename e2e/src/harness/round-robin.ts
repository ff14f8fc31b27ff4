import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How often replicas are asked whether they want traffic. */
const HEALTH_CHECK_MS = 100;

/**
 * A dumb load balancer: each request goes to the next replica that is ready, whatever connection it came on. It knows
 * `/readyz` and nothing else; a replica that refuses the connection is skipped.
 */
export async function startRoundRobin(
  targets: readonly string[],
  port = 0,
): Promise<{ url: string; stop(): Promise<void> }> {
  let turn = 0;
  const ready = new Set(targets);
  const check = setInterval(() => {
    for (const target of targets) {
      void fetch(`${target}/readyz`).then(
        ({ ok }) => (ok ? ready.add(target) : ready.delete(target)),
        () => ready.delete(target),
      );
    }
  }, HEALTH_CHECK_MS);
  const next = (): string => {
    for (let tries = 0; tries < targets.length; tries++) {
      const target = targets[turn++ % targets.length] ?? '';
      if (ready.has(target)) return target;
    }
    return targets[turn++ % targets.length] ?? '';
  };
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => forward(targets.length));

    function forward(attempts: number): void {
      const target = new URL(next());
      const request = httpRequest(
        {
          host: target.hostname,
          port: target.port,
          method: incoming.method,
          path: incoming.url,
          headers: incoming.headers,
          agent: false,
        },
        (response) => {
          outgoing.writeHead(response.statusCode ?? 502, response.headers);
          response.pipe(outgoing);
          response.on('aborted', () => outgoing.destroy());
        },
      );
      outgoing.on('close', () => request.destroy());
      request.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECONNREFUSED' && attempts > 1) forward(attempts - 1);
        else outgoing.destroy();
      });
      request.end(Buffer.concat(chunks));
    }
  });
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((done) => {
        clearInterval(check);
        server.closeAllConnections();
        server.close(() => done());
      }),
  };
}
