import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createLog } from '../../observe/log.ts';
import { AddressSet } from '../client-address.ts';
import { Listener, type ListenerOptions, type ListenerRules, type RequestHandler } from '../listener.ts';
import type { TrafficLimits } from '../traffic-limits.ts';
import { USUAL_TRAFFIC } from './usual-traffic.ts';

const NONE = new AddressSet([]);

export interface Listening {
  readonly listener: Listener;
  readonly url: string;
  readonly port: number;
  /** What was shed, in order. */
  readonly shed: string[];
  readonly lines: Record<string, unknown>[];
}

const running: Listener[] = [];

/** Stops everything that {@link listen} started. */
export async function stopListening(): Promise<void> {
  await Promise.all(running.splice(0).map((listener) => listener.drain(0, 0)));
}

/** A listener on a free port of 127.0.0.1, that looks at its clients every 20 ms. */
export async function listen(
  handler: RequestHandler,
  traffic: Partial<TrafficLimits> = {},
  rules: Partial<ListenerRules> = {},
  options: Partial<ListenerOptions> = {},
): Promise<Listening> {
  const shed: string[] = [];
  const lines: Record<string, unknown>[] = [];
  const listener = new Listener(
    {
      host: '127.0.0.1',
      port: 0,
      maxHeaderBytes: undefined,
      log: createLog('info', {
        write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
      }),
      audit: () => undefined,
      counts: { answered: () => undefined, shed: (reason) => void shed.push(reason) },
      ...options,
    },
    {
      trustedProxies: NONE,
      allow: NONE,
      deny: NONE,
      maxUrlLength: undefined,
      ...rules,
      traffic: { ...USUAL_TRAFFIC, sweepMs: 20, discardMs: 200, ...traffic },
    },
    handler,
  );
  running.push(listener);
  const port = await listener.listen();
  return { listener, url: `http://127.0.0.1:${port}`, port, shed, lines };
}

export interface RawClient {
  readonly socket: Socket;
  /** What has come so far. */
  readonly text: () => string;
  /** Resolves once the gateway has closed the connection for good, with all that came. */
  readonly closed: Promise<string>;
}

/** A connection of its own, over which these bytes are sent. */
export async function rawClient(port: number, bytes = ''): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let received = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
  // Never closes by itself: what comes back on writing shows whether the other side is really gone.
  socket.once('end', () => {
    const poke = setInterval(() => socket.write(' '), 10);
    socket.once('close', () => clearInterval(poke));
  });
  const closed = new Promise<string>((resolve) => socket.once('close', () => resolve(received)));
  await once(socket, 'connect');
  if (bytes !== '') socket.write(bytes, 'latin1');
  return { socket, text: () => received, closed };
}
