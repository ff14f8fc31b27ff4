/** How many there are of each key at this moment. A key without any takes no memory. */
export class TallyByKey {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** @param amount May be negative: whoever added takes away as much. */
  add(key: string, amount: number): void {
    const count = this.of(key) + amount;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }

  /** Keys with something to count. */
  get size(): number {
    return this.#counts.size;
  }
}
