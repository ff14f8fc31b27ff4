import type { ServerResponse } from 'node:http';

/** One response that is under way. */
export interface Entry {
  readonly response: ServerResponse;
  before: Entry | undefined;
  after: Entry | undefined;
}

/**
 * The responses that are under way.
 *
 * A linked list and not a Set: the tables that a busy Set outgrows stay reachable from each other until the next full
 * collection, and with them every response that ever was in one.
 */
export class InFlight {
  #first: Entry | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @returns what {@link delete} takes. */
  add(response: ServerResponse): Entry {
    const entry: Entry = { response, before: undefined, after: this.#first };
    if (this.#first !== undefined) this.#first.before = entry;
    this.#first = entry;
    this.#size++;
    return entry;
  }

  /** @param entry In the list. */
  delete(entry: Entry): void {
    const { before, after } = entry;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after !== undefined) after.before = before;
    // A finished one that something still refers to must not lead to the others.
    entry.before = undefined;
    entry.after = undefined;
    this.#size--;
  }

  *[Symbol.iterator](): Generator<ServerResponse, void> {
    for (let entry = this.#first; entry !== undefined; entry = entry.after) yield entry.response;
  }
}
