/** Something that a runtime is made of, and how it is let go of. */
interface Part {
  readonly value: Promise<unknown>;
  readonly close: ((value: never) => void | Promise<void>) | undefined;
}

/**
 * The parts that outlive a reload when what they were made from did not change: connection pools stay warm, verified
 * tokens stay known, an identity provider is not discovered again.
 */
export class Parts {
  readonly #parts = new Map<string, Part>();
  #previous: Parts | undefined;

  constructor(previous?: Parts) {
    this.#previous = previous;
  }

  /**
   * The part of this kind and of this configuration: the previous one, or a new one.
   *
   * @param from Everything that the part is made from; compared as JSON.
   * @param close Called once nothing uses the part any more.
   */
  async use<T>(
    kind: string,
    from: unknown,
    make: () => T | Promise<T>,
    close?: (value: T) => void | Promise<void>,
  ): Promise<T> {
    const key = `${kind} ${JSON.stringify(from)}`;
    const previous = this.#previous === undefined ? undefined : this.#previous.#parts.get(key);
    const part = this.#parts.get(key) ?? previous ?? { value: Promise.resolve().then(make), close };
    this.#parts.set(key, part);
    return part.value as Promise<T>;
  }

  /** Lets go of every part that `successor` does not use; of all without one. */
  async close(successor?: Parts): Promise<void> {
    const gone = [...this.#parts].filter(([key]) => successor === undefined || !successor.#parts.has(key));
    await Promise.allSettled(gone.map(async ([, part]) => part.close?.((await part.value) as never)));
    this.#parts.clear();
    if (successor !== undefined && successor.#previous === this) successor.#previous = undefined;
  }
}
