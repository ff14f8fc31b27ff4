/** One of those that are under way. */
export interface Entry<T> {
  before: T | undefined;
  after: T | undefined;
}

/**
 * The requests that are under way.
 *
 * A linked list and not a Set: the tables that a busy Set outgrows stay reachable from each other until the next full
 * collection, and with them every response that ever was in one.
 */
export class InFlight<T extends Entry<T>> {
  #first: T | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @param entry Not in the list yet. */
  add(entry: T): void {
    entry.before = undefined;
    entry.after = this.#first;
    if (this.#first !== undefined) this.#first.before = entry;
    this.#first = entry;
    this.#size++;
  }

  /** @param entry In the list. */
  delete(entry: T): void {
    const { before, after } = entry;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after !== undefined) after.before = before;
    // A finished one that something still refers to must not lead to the others.
    entry.before = undefined;
    entry.after = undefined;
    this.#size--;
  }

  /** One that is handed out may leave the list before the next is asked for. */
  *[Symbol.iterator](): Generator<T, void> {
    for (let entry = this.#first; entry !== undefined;) {
      const next: T | undefined = entry.after;
      yield entry;
      entry = next;
    }
  }
}
