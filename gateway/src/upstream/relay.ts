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
  /** Bytes of the body, as they go to the client, or would if it were still there. */
  onResponseBytes?(chunk: Buffer): void;
  /**
   * An upstream had the request and gave no answer. Asked before the request goes to another one, or there again.
   *
   * @param streamed Whether the request asked for a stream of events.
   * @returns whether it may.
   */
  onLost?(upstream: string, streamed: boolean): boolean | Promise<boolean>;
  /** The last call, once, whatever happened, also when no response was ever started. */
  onResponseEnd?(end: ResponseEnd): void;
}

/** What became of a request. */
export interface ResponseEnd {
  readonly ending: RelayEnding;
  readonly reached: Reached;
  /** The upstream of `reached`. */
  readonly upstream: string | null;
  /** Whether the request asked for a stream of events. */
  readonly streamed: boolean;
  /** What the client was sent; 499 when it went before. */
  readonly status: number;
  /** From the request's arrival, in ms. */
  readonly firstByteMs: number | null;
  readonly durationMs: number;
}

/**
 * How far a request came: an upstream answered it with success (`answered`), or refused it for what it is
 * (`declined`), or had it and gave no answer (`unanswered`); or there is no upstream that it could have cost anything
 * at (`nowhere`).
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

/** What an upstream's response begins with. */
interface Head {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly upstream: string;
}

/**
 * Hands one upstream response to the client: bytes as they come, as fast as the client takes them. The client hears
 * nothing before the first byte of the body: until then another upstream may answer instead.
 */
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
  #head: Head | undefined;
  /** The last four bytes that passed; an event boundary before the first. */
  #tail = CRLF_CRLF;
  #beating = false;
  /** The client has gone: what comes is only looked at. */
  #discarding = false;

  constructor(response: ServerResponse, heartbeat: Heartbeat, observer: ResponseObserver | undefined) {
    this.#response = response;
    this.#heartbeat = heartbeat;
    this.#observer = observer;
  }

  /** An upstream begins an answer: its status and headers go out with its first byte. */
  begin(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    upstream: string,
  ): void {
    this.#controller = controller;
    this.#head = { status, headers, upstream };
    if (this.#discarding || !isPlainEventStream(headers)) return;
    this.#beating = true;
    this.#heartbeat.add(this);
  }

  /** Nothing of the answer that was begun has gone out, so that it can be taken back. */
  get pending(): boolean {
    return this.#head !== undefined;
  }

  /** The answer broke off before its first byte. */
  withdraw(): void {
    this.release();
    this.#head = undefined;
    this.#tail = CRLF_CRLF;
  }

  data(chunk: Buffer): void {
    if (this.#head !== undefined) this.#start(this.#head);
    this.idleTicks = 0;
    this.#observer?.onResponseBytes?.(chunk);
    if (this.#discarding) return;
    if (this.#beating) this.#remember(chunk);
    this.bytes += chunk.length;
    if (!this.#response.write(chunk)) this.#pause();
  }

  end(): void {
    if (this.#head !== undefined) this.#start(this.#head);
    this.release();
    if (!this.#discarding) this.#response.end();
  }

  /**
   * The upstream broke off in mid-answer: what was received still goes out, then the connection is closed without
   * the end of the body, so that the client knows.
   */
  cut(): void {
    this.release();
    if (this.#discarding) return;
    const { socket } = this.#response;
    if (socket === null) this.#response.destroy();
    else socket.destroySoon();
  }

  /** The client has gone, and the answer is read on to its end all the same: as fast as it comes. */
  discard(): void {
    this.release();
    this.#discarding = true;
    this.#controller?.resume();
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
    if (this.#head !== undefined) this.#start(this.#head);
    this.bytes += PING.length;
    this.#response.write(PING);
  }

  #start({ status, headers, upstream }: Head): void {
    this.#head = undefined;
    const own = this.#observer?.onResponseStart?.(status, headers, upstream);
    if (this.#discarding) return;
    const response = this.#response;
    for (const name in headers) {
      const value = headers[name];
      if (value !== undefined && isRelayed(name)) response.setHeader(name, value);
    }
    if (own === undefined) response.writeHead(status);
    else response.writeHead(status, own);
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
