import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Shedding } from './shedding.ts';
import type { TrafficLimits } from './traffic-limits.ts';

/** What may come between two requests without being the next one: some clients end a body with an empty line (RFC 9112 §2.2). */
const STRAY_BYTES = 16;
/** The parser's own clocks, which say why, run out first. */
const SPARE = 1.25;

/** A connection over which no request is under way. */
interface Waiting {
  /** Since when, by `performance.now()`. */
  since: number;
  /** Bytes that had come until then. */
  readBefore: number;
  /** When something was first seen to come; 0 until then. */
  begunAt: number;
  /** False while a request is under way. */
  waits: boolean;
}

/**
 * Bounds what connections may hold on to before there is a request that could be looked at. The parser's own clocks start anew with
 * every byte between two requests, and it keeps the headers of all connections until they are finished.
 */
export class WaitingSockets {
  readonly #sockets = new Map<Socket, Waiting>();
  readonly #shedding: Shedding;

  constructor(server: Server, speaksPlainly: boolean, shedding: Shedding) {
    this.#shedding = shedding;
    server.on(speaksPlainly ? 'connection' : 'secureConnection', (socket: Socket) => {
      this.#sockets.set(socket, { since: performance.now(), readBefore: 0, begunAt: 0, waits: true });
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** A request has come. */
  busy(socket: Socket): void {
    const state = this.#sockets.get(socket);
    if (state !== undefined) state.waits = false;
  }

  /** No request is under way any more, and what belonged to the last one has come. */
  idle(socket: Socket): void {
    const state = this.#sockets.get(socket);
    if (state === undefined) return;
    state.since = performance.now();
    state.readBefore = socket.bytesRead;
    state.begunAt = 0;
    state.waits = true;
  }

  /** To be called about once a second. @param now `performance.now()` */
  sweep(
    now: number,
    limits: Pick<TrafficLimits, 'headersMs' | 'keepAliveMs' | 'maxUnfinishedHeaderBytes'>,
  ): void {
    let pending = 0;
    for (const [socket, state] of this.#sockets) {
      if (!state.waits) continue;
      const bytes = socket.bytesRead - state.readBefore;
      if (state.begunAt === 0 && bytes > STRAY_BYTES) state.begunAt = now;
      const isSlow = state.begunAt !== 0 && now - state.begunAt > limits.headersMs * SPARE;
      if (isSlow || now - state.since > (limits.headersMs + limits.keepAliveMs) * SPARE) {
        const limit = isSlow ? 'timeouts.request_headers_ms' : 'timeouts.keep_alive_ms';
        this.#shedding.shed('slow_headers', limit, socket.remoteAddress ?? '');
        socket.destroy();
      } else pending += bytes;
    }
    if (pending > limits.maxUnfinishedHeaderBytes) this.#makeRoom(pending - limits.maxUnfinishedHeaderBytes);
  }

  /** Those with the most go first: an honest client's headers are few, and finished. */
  #makeRoom(excess: number): void {
    const pending = [...this.#sockets]
      .filter(([socket, { waits }]) => waits && !socket.destroyed)
      .map(([socket, { readBefore }]) => ({ socket, bytes: socket.bytesRead - readBefore }))
      .sort((a, b) => b.bytes - a.bytes);
    let left = excess;
    for (const { socket, bytes } of pending) {
      if (left <= 0) return;
      left -= bytes;
      this.#shedding.shed('unfinished_headers', 'limits.max_connections', socket.remoteAddress ?? '');
      socket.destroy();
    }
  }
}
