import { HostileAnswerError } from './wire-check.ts';

/** A connection whose answers take memory. */
export interface AnsweringConnection {
  /** Ends it; whoever waits for an answer hears of the error. */
  readonly cutOff: (error: Error) => void;
}

/**
 * How much memory the answers of all servers may take together while they come in, for a process that talks to servers of
 * people who do not trust each other. When there is no room left, the largest answer is cut off, not the one that came last.
 */
export class AnswerBudget {
  readonly #maxBytes: number;
  readonly #taken = new Map<AnsweringConnection, number>();
  #total = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @throws HostileAnswerError when it is this connection that has to end. */
  take(connection: AnsweringConnection, bytes: number): void {
    this.#taken.set(connection, (this.#taken.get(connection) ?? 0) + bytes);
    this.#total += bytes;
    while (this.#total > this.#maxBytes) {
      const largest = this.#largest();
      this.giveBack(largest);
      const error = new HostileAnswerError(
        `the server answered with more than there is room for (${this.#maxBytes / 1024 / 1024} MiB)`,
      );
      if (largest === connection) throw error;
      largest.cutOff(error);
    }
  }

  /** The answers of a connection have been taken, or it has ended. */
  giveBack(connection: AnsweringConnection): void {
    this.#total -= this.#taken.get(connection) ?? 0;
    this.#taken.delete(connection);
  }

  #largest(): AnsweringConnection {
    return [...this.#taken].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  }
}
