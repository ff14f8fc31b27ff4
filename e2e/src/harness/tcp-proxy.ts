import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A network path that can break in the ways networks do. */
export interface TcpProxy {
  readonly port: number;
  /** `refuse`: connections are reset, new ones too. `hang`: nothing passes, nobody is told. `pass`: all is well. */
  set(mode: 'pass' | 'refuse' | 'hang'): void;
  stop(): Promise<void>;
}

/** Passes connections on, by default between ports of this machine. @param at Where it listens. */
export async function startTcpProxy(
  targetPort: number,
  { targetHost = '127.0.0.1', at = '127.0.0.1' }: { targetHost?: string; at?: string } = {},
): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let mode: 'pass' | 'refuse' | 'hang' = 'pass';
  const server = createServer({ noDelay: true }, (near) => {
    if (mode === 'refuse') {
      near.resetAndDestroy();
      return;
    }
    const far = connect({ port: targetPort, host: targetHost, noDelay: true });
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, pair.toReversed()] as [Socket, Socket][]) {
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        pairs.delete(pair);
        to.destroy();
      });
    }
    if (mode === 'hang') hang(pair);
  });
  await new Promise<void>((done) => server.listen(0, at, done));

  function hang(pair: readonly [Socket, Socket]): void {
    const [near, far] = pair;
    near.unpipe(far).pause();
    far.unpipe(near).pause();
  }

  return {
    port: (server.address() as AddressInfo).port,
    set(next) {
      // A path that comes back after it has hung starts afresh: what was held up meanwhile is lost.
      if (next === 'refuse' || mode === 'hang') for (const [near] of pairs) near.resetAndDestroy();
      mode = next;
      if (mode === 'hang') for (const pair of pairs) hang(pair);
    },
    stop: () =>
      new Promise((done) => {
        for (const [near, far] of pairs) {
          near.destroy();
          far.destroy();
        }
        server.close(() => done());
      }),
  };
}
