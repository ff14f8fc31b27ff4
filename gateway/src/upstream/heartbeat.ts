/** A stream that may need a sign of life. */
export interface Silent {
  /** Set to zero by the stream with every byte that it passes on. */
  idleTicks: number;
  /** Called when nothing has passed for the whole period. */
  onSilence(): void;
}

/** How many times in a period the clock ticks: a stream is called between one period and 1 + 1/TICKS of it. */
const TICKS = 5;

/**
 * One clock for all streams of the process. A timer per stream would have to be moved with every chunk; here a chunk
 * costs one store.
 */
export class Heartbeat {
  readonly #streams = new Set<Silent>();
  readonly #tickMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param periodMs How long a stream may be silent. */
  constructor(periodMs: number) {
    this.#tickMs = periodMs / TICKS;
  }

  add(stream: Silent): void {
    stream.idleTicks = 0;
    this.#streams.add(stream);
    this.#timer ??= setInterval(() => this.#tick(), this.#tickMs).unref();
  }

  delete(stream: Silent): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0 || this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    for (const stream of this.#streams) {
      if (++stream.idleTicks <= TICKS) continue;
      stream.idleTicks = 1;
      stream.onSilence();
    }
  }
}
