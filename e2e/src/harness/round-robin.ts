import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A load balancer that knows nothing: each request goes to the next replica, whatever connection it came on.
 * A replica that refuses the connection is skipped, as any balancer does.
 */
export async function startRoundRobin(
  targets: readonly string[],
  port = 0,
): Promise<{ url: string; stop(): Promise<void> }> {
  let turn = 0;
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => forward(targets.length));

    function forward(attempts: number): void {
      const target = new URL(targets[turn++ % targets.length] ?? '');
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
        server.closeAllConnections();
        server.close(() => done());
      }),
  };
}
