import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { isRelayed } from './headers.ts';
import type { Heartbeat, Silent } from './heartbeat.ts';
import { Opening, type ErrorInside } from './opening.ts';
import { isSignOfLife, SilentUpstreamError, type SilenceLimits } from './silence.ts';

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

/** The end of an answer that nobody goes on with. */
const FELL_SILENT = `event: error\ndata: ${JSON.stringify({
  type: 'error',
  error: { type: 'api_error', message: 'The model provider stopped in mid-answer.' },
})}\n\n`;

/** No limits. */
const PATIENT: SilenceLimits = { idleMs: 0, pingsOnlyMs: 0 };

/** The last bytes of an event (WHATWG HTML §9.2.6), read as big-endian integers. */
const LF_LF = 0x0a0a;
const CRLF_CRLF = 0x0d0a0d0a;

/** What an upstream's response begins with. */
interface Head {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly upstream: string;
  readonly opening: Opening;
}

/**
 * Hands one upstream response to the client: bytes as they come, as fast as the client takes them. The client hears
 * nothing before the body has begun to say something ({@link Opening}): until then another upstream may answer instead.
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
  readonly #limits: SilenceLimits;
  #controller: Dispatcher.DispatchController | undefined;
  #head: Head | undefined;
  /** The last four bytes that passed; an event boundary before the first. */
  #tail = CRLF_CRLF;
  /** In the list of the heartbeat. */
  #beating = false;
  /** A stream of events, into which pings fit. */
  #events = false;
  /** Ticks since the last byte, and since the last one that said something. */
  #idleFor = 0;
  #wordlessFor = 0;
  /** The client does not take what is there, so that the upstream cannot say more. */
  #paused = false;
  /** The client has been told that the upstream fell silent. */
  #toldSilence = false;
  /** The client has gone: what comes is only looked at. */
  #discarding = false;

  constructor(
    response: ServerResponse,
    heartbeat: Heartbeat,
    observer: ResponseObserver | undefined,
    limits: SilenceLimits = PATIENT,
  ) {
    this.#limits = limits;
    this.#response = response;
    this.#heartbeat = heartbeat;
    this.#observer = observer;
  }

  /** An upstream begins an answer: its status and headers go out with its first words. */
  begin(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    upstream: string,
  ): void {
    this.#controller = controller;
    this.#head = { status, headers, upstream, opening: new Opening(headers) };
    this.#events = isPlainEventStream(headers);
    this.#idleFor = 0;
    this.#wordlessFor = 0;
    if (this.#discarding) return;
    this.#beating = true;
    this.#heartbeat.add(this);
  }

  /** Nothing of the answer that was begun has gone out, so that it can be taken back. */
  get pending(): boolean {
    return this.#head !== undefined;
  }

  /** The answer broke off before it said anything, or is an error. */
  withdraw(): void {
    this.release();
    this.#head = undefined;
    this.#tail = CRLF_CRLF;
  }

  /** @returns the error that the answer turned out to be, before anything of it has gone out. */
  data(chunk: Buffer): ErrorInside | undefined {
    this.#idleFor = 0;
    if (!this.#events || !isSignOfLife(chunk)) this.#wordlessFor = 0;
    if (this.#head === undefined) {
      this.#pass(chunk);
      return undefined;
    }
    const verdict = this.#head.opening.add(chunk);
    if (verdict === 'undecided') {
      this.#remember(chunk);
      return undefined;
    }
    if (verdict !== 'answer') return verdict;
    const held = this.#start(this.#head);
    this.#pass(held ?? chunk);
    return undefined;
  }

  /** @returns what the answer turned out to be, when nothing of it has gone out. */
  end(): ErrorInside | 'nothing' | undefined {
    if (this.#head !== undefined) {
      const verdict = this.#head.opening.end();
      if (verdict === 'undecided') return 'nothing';
      if (verdict !== 'answer') return verdict;
      const held = this.#start(this.#head);
      if (held !== undefined) this.#pass(held);
    }
    this.release();
    if (!this.#discarding) this.#response.end();
    return undefined;
  }

  /**
   * The upstream broke off in mid-answer: what was received still goes out, then the connection is closed without
   * the end of the body, so that the client knows.
   */
  cut(): void {
    this.release();
    if (this.#discarding) return;
    if (this.#toldSilence) {
      this.#response.end();
      return;
    }
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
    // While the client does not even take what is there, it needs no proof of life.
    if (!this.#atBoundary || this.#response.writableNeedDrain) return;
    if (this.#head !== undefined) {
      const held = this.#start(this.#head);
      if (held !== undefined) this.#pass(held);
    }
    this.bytes += PING.length;
    this.#response.write(PING);
  }

  /** Pings of ours keep the client waiting, and everything in between: so somebody has to see that nothing comes. */
  onTick(): void {
    if (this.#paused || !this.#beating) return;
    this.#idleFor++;
    this.#wordlessFor++;
    const { idleMs, pingsOnlyMs } = this.#limits;
    if (this.#idleFor > this.#heartbeat.ticksOf(idleMs)) this.#giveUp(new SilentUpstreamError(false, idleMs));
    else if (this.#wordlessFor > this.#heartbeat.ticksOf(pingsOnlyMs))
      this.#giveUp(new SilentUpstreamError(true, pingsOnlyMs));
  }

  /** Whoever sends learns it by {@link cut}, or by {@link withdraw} when nothing has gone out yet. */
  #giveUp(error: SilentUpstreamError): void {
    this.release();
    if (this.#head === undefined && this.#atBoundary) {
      this.#toldSilence = true;
      this.bytes += FELL_SILENT.length;
      this.#response.write(FELL_SILENT);
    }
    this.#controller?.abort(error);
  }

  /** Between two events of a stream of events. */
  get #atBoundary(): boolean {
    return this.#events && ((this.#tail & 0xffff) === LF_LF || this.#tail === CRLF_CRLF);
  }

  #pass(chunk: Buffer): void {
    this.idleTicks = 0;
    this.#observer?.onResponseBytes?.(chunk);
    if (this.#discarding) return;
    if (this.#events) this.#remember(chunk);
    this.bytes += chunk.length;
    if (!this.#response.write(chunk)) this.#pause();
  }

  /** @returns the bytes that were held back, which are to go out now. */
  #start({ status, headers, upstream, opening }: Head): Buffer | undefined {
    this.#head = undefined;
    const own = this.#observer?.onResponseStart?.(status, headers, upstream);
    if (this.#discarding) return opening.held;
    const response = this.#response;
    for (const name in headers) {
      const value = headers[name];
      if (value !== undefined && isRelayed(name)) response.setHeader(name, value);
    }
    // nginx would collect the stream and hand it on at its end.
    if (this.#events) response.setHeader('x-accel-buffering', 'no');
    if (own === undefined) response.writeHead(status);
    else response.writeHead(status, own);
    return opening.held;
  }

  #pause(): void {
    const controller = this.#controller;
    if (controller === undefined) return;
    controller.pause();
    this.#paused = true;
    this.#response.once('drain', () => {
      this.#paused = false;
      this.#idleFor = 0;
      this.#wordlessFor = 0;
      controller.resume();
    });
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
