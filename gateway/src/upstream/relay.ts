import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { isRelayed } from './headers.ts';
import type { Heartbeat, Silent } from './heartbeat.ts';

/**
 * Sees a response pass. Called synchronously on the request path, so it must be quick and must not throw; it must
 * not keep or change the chunks.
 */
export interface ResponseObserver {
  /**
   * An upstream answers with success.
   *
   * @returns headers that the client gets beside the upstream's.
   */
  onResponseStart?(
    status: number,
    headers: IncomingHttpHeaders,
    upstream: string,
  ): OutgoingHttpHeaders | undefined;
  /** Bytes of the body, as they go to the client. */
  onResponseBytes?(chunk: Buffer): void;
  /** The last call, once, whatever happened, also when no response was ever started. */
  onResponseEnd?(end: ResponseEnd): void;
}

/** What became of a request. */
export interface ResponseEnd {
  readonly ending: RelayEnding;
  readonly reached: Reached;
  /** The upstream of `reached`. */
  readonly upstream: string | null;
  /** What the client was sent; 499 when it went before. */
  readonly status: number;
  /** From the request's arrival, in ms. */
  readonly firstByteMs: number | null;
  readonly durationMs: number;
}

/**
 * How far a request came: an upstream answered it with success (`answered`), or refused it for what it is
 * (`declined`), or had it when the client went (`unanswered`); or there is no upstream that it could have cost
 * anything at (`nowhere`).
 */
export type Reached = 'answered' | 'declined' | 'unanswered' | 'nowhere';

/**
 * How an answer ended: `complete`, the upstream broke off (`upstream_cut`), the client went (`client_gone`), or the
 * gateway itself answered (`refused`).
 */
export type RelayEnding = 'complete' | 'upstream_cut' | 'client_gone' | 'refused';

const PING = 'event: ping\ndata: {"type": "ping"}\n\n';

/** The last bytes of an event (WHATWG HTML §9.2.6), read as big-endian integers. */
const LF_LF = 0x0a0a;
const CRLF_CRLF = 0x0d0a0d0a;

/** Hands one upstream response to the client: bytes as they come, as fast as the client takes them. */
export class Relay implements Silent {
  idleTicks = 0;
  beatBefore: Silent | undefined;
  beatAfter: Silent | undefined;
  /** Bytes of the body that went to the client, pings of ours included. */
  bytes = 0;
  readonly #response: ServerResponse;
  readonly #heartbeat: Heartbeat;
  readonly #observer: ResponseObserver | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  /** The last four bytes that passed; an event boundary before the first. */
  #tail = CRLF_CRLF;
  #beating = false;

  constructor(response: ServerResponse, heartbeat: Heartbeat, observer: ResponseObserver | undefined) {
    this.#response = response;
    this.#heartbeat = heartbeat;
    this.#observer = observer;
  }

  /** Starts the client's response with the upstream's status and headers. */
  start(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    upstream: string,
  ): void {
    const response = this.#response;
    this.#controller = controller;
    for (const name in headers) {
      const value = headers[name];
      if (value !== undefined && isRelayed(name)) response.setHeader(name, value);
    }
    const own = this.#observer?.onResponseStart?.(status, headers, upstream);
    if (own === undefined) response.writeHead(status);
    else response.writeHead(status, own);
    if (isPlainEventStream(headers)) {
      this.#beating = true;
      this.#heartbeat.add(this);
      // Headers of a stream go out at once; those of other answers with the first bytes of the body.
      queueMicrotask(() => {
        if (this.bytes === 0) response.flushHeaders();
      });
    }
  }

  data(chunk: Buffer): void {
    this.idleTicks = 0;
    this.#observer?.onResponseBytes?.(chunk);
    if (this.#beating) this.#remember(chunk);
    this.bytes += chunk.length;
    if (!this.#response.write(chunk)) this.#pause();
  }

  end(): void {
    this.release();
    this.#response.end();
  }

  /**
   * The upstream broke off in mid-answer: what was received still goes out, then the connection is closed without
   * the end of the body, so that the client knows.
   */
  cut(): void {
    this.release();
    const { socket } = this.#response;
    if (socket === null) this.#response.destroy();
    else socket.destroySoon();
  }

  /** Lets go of the heartbeat; nothing passes after it. */
  release(): void {
    if (!this.#beating) return;
    this.#beating = false;
    this.#heartbeat.delete(this);
  }

  /** The client gives up after minutes of silence, and proxies before it: a ping keeps both waiting. */
  onSilence(): void {
    const atBoundary = (this.#tail & 0xffff) === LF_LF || this.#tail === CRLF_CRLF;
    // While the client does not even take what is there, it needs no proof of life.
    if (!atBoundary || this.#response.writableNeedDrain) return;
    this.bytes += PING.length;
    this.#response.write(PING);
  }

  #pause(): void {
    const controller = this.#controller;
    if (controller === undefined) return;
    controller.pause();
    this.#response.once('drain', () => controller.resume());
  }

  #remember(chunk: Buffer): void {
    if (chunk.length >= 4) {
      this.#tail = chunk.readInt32BE(chunk.length - 4);
      return;
    }
    for (const byte of chunk) this.#tail = (this.#tail << 8) | byte;
  }
}

function isPlainEventStream(headers: IncomingHttpHeaders): boolean {
  return (
    headers['content-encoding'] === undefined &&
    headers['content-length'] === undefined &&
    (headers['content-type']?.startsWith('text/event-stream') ?? false)
  );
}
