/** A stream that may need a sign of life. */
export interface Silent {
  /** Set to zero by the stream with every byte that it passes on. */
  idleTicks: number;
  /** Called when nothing has passed for the whole period. */
  onSilence(): void;
  /** Called with every tick of the clock; afterwards the stream may have left the list. */
  onTick(): void;
  /** The list of {@link Heartbeat}; nobody else's. */
  beatBefore: Silent | undefined;
  beatAfter: Silent | undefined;
}

/** How many times in a period the clock ticks: a stream is called between one period and 1 + 1/TICKS of it. */
const TICKS = 5;

/**
 * One clock for all streams of the process. A timer per stream would have to be moved with every chunk; here a chunk
 * costs one store.
 *
 * The streams are a linked list and not a Set: the tables that a busy Set outgrows stay reachable from each other
 * until the next full collection, and with them every response that ever was in one (measured: twice the memory).
 */
export class Heartbeat {
  readonly #tickMs: number;
  #first: Silent | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param periodMs How long a stream may be silent. */
  constructor(periodMs: number) {
    this.#tickMs = periodMs / TICKS;
  }

  /** @returns how many ticks pass before a time is over, in ms; 0 is for ever. */
  ticksOf(ms: number): number {
    return ms === 0 ? Infinity : Math.ceil(ms / this.#tickMs);
  }

  /** @param stream Not in the list yet. */
  add(stream: Silent): void {
    stream.idleTicks = 0;
    stream.beatAfter = this.#first;
    if (this.#first !== undefined) this.#first.beatBefore = stream;
    this.#first = stream;
    this.#timer ??= setInterval(() => this.#tick(), this.#tickMs).unref();
  }

  /** @param stream In the list. */
  delete(stream: Silent): void {
    const { beatBefore, beatAfter } = stream;
    if (beatBefore === undefined) this.#first = beatAfter;
    else beatBefore.beatAfter = beatAfter;
    if (beatAfter !== undefined) beatAfter.beatBefore = beatBefore;
    stream.beatBefore = undefined;
    stream.beatAfter = undefined;
    if (this.#first !== undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    for (let stream = this.#first; stream !== undefined;) {
      // Taken first: a stream that is called may leave the list.
      const next: Silent | undefined = stream.beatAfter;
      if (++stream.idleTicks > TICKS) {
        stream.idleTicks = 1;
        stream.onSilence();
      }
      stream.onTick();
      stream = next;
    }
  }
}
