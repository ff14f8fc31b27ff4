import { EventEmitter } from 'node:events';
import pg from 'pg';
import type { AnswerBudget, AnsweringConnection } from './answer-budget.ts';
import { WireCheck } from './wire-check.ts';

/** How long a server may take to say goodbye, in ms. */
const GOODBYE_MS = 1_000;

/** What pg does not say of its connection: where it begins to listen. */
interface Connection extends pg.Connection {
  attachListeners(stream: EventEmitter): void;
}

/**
 * A client for servers that may be anybody's. What they send is looked at before the driver parses it, takes no more memory than the
 * budget has, and cannot end the process; a connection that was refused or given up is closed, whatever the server does.
 */
export class BoundedClient extends pg.Client implements AnsweringConnection {
  readonly #budget: AnswerBudget;

  constructor(config: pg.ClientConfig & { readonly answers: AnswerBudget }) {
    super(config);
    this.#budget = config.answers;
    const connection = this.connection as Connection;
    // The driver tells nobody else while it connects, and an error that nobody hears ends the process.
    this.on('error', () => undefined);
    const close = (): void => void setImmediate(() => connection.stream.destroy());
    let connected = false;
    connection.once('readyForQuery', () => (connected = true));
    connection.on('errorMessage', () => connected || close());
    connection.on('error', close);
    connection.once('end', () => this.forgetAnswers());
    this.#readAlong(connection);
    const end = connection.end.bind(connection);
    connection.end = () => {
      end();
      setTimeout(() => connection.stream.destroy(), GOODBYE_MS).unref();
    };
  }

  cutOff(error: Error): void {
    this.connection.stream.destroy(error);
  }

  /** What was answered so far has been taken. */
  forgetAnswers(): void {
    this.#budget.giveBack(this);
  }

  #readAlong(connection: Connection): void {
    const check = new WireCheck((bytes) => this.#budget.take(this, bytes));
    const attach = connection.attachListeners.bind(connection);
    connection.attachListeners = (stream) => {
      const checked = new EventEmitter();
      attach(checked);
      stream.on('data', (chunk: Buffer) => {
        if (connection.stream.destroyed) return;
        try {
          check.check(chunk);
          checked.emit('data', chunk);
        } catch (error) {
          this.cutOff(error as Error);
        }
      });
    };
  }
}

/** Answers that a pool's callers have taken count no longer. */
export function forgetTakenAnswers(pool: pg.Pool): void {
  const forget = (client: pg.PoolClient): void => {
    if (client instanceof BoundedClient) client.forgetAnswers();
  };
  pool.on('acquire', forget);
  pool.on('release', (_, client) => forget(client));
}
