import { createHash } from 'node:crypto';
import type pg from 'pg';

/** A row as PostgreSQL writes it: text, without types. */
export type TextRow = (string | null)[];

export interface Statement {
  readonly name: string;
  readonly text: string;
}

const names = new WeakMap<Statement, string>();

/**
 * The name of the prepared statement. It says the same text on every connection, whoever prepared it: poolers lend ours to
 * other versions of this program.
 */
export function nameOf(statement: Statement): string {
  let name = names.get(statement);
  if (name === undefined) {
    const digest = createHash('sha256').update(statement.text).digest('hex').slice(0, 12);
    names.set(statement, (name = `${statement.name}_${digest}`));
  }
  return name;
}

/** What the driver's connection knows of prepared statements; its types leave it out. */
interface Connection extends pg.Connection {
  readonly parsedStatements: Record<string, string | undefined>;
}

/**
 * A statement behind a gate, in one transaction and one round trip. The gate is a statement of its own that takes locks:
 * only so does the second one see everything that was committed before the gate opened, since a statement's snapshot is
 * older than the locks that it takes itself.
 *
 * Both go out before anything comes back, without a Sync between them, which makes them one transaction (PostgreSQL's
 * documentation, 54.2.3 "Extended Query", on pipelining).
 */
export class GatedQuery {
  /** Asked by the driver whenever the server has parsed something: not the gate, which has no name. */
  name: string | undefined;
  readonly text: string;
  /** Set by the driver. */
  callback: ((error: Error | null, rows?: TextRow[]) => void) | undefined;
  /** In ms, in place of the pool's. */
  readonly query_timeout: number | undefined;
  readonly #gate: string;
  readonly #statement: Statement;
  readonly #values: readonly (string | null)[];
  readonly #rows: TextRow[] = [];
  #open = false;

  constructor(gate: string, statement: Statement, values: readonly (string | null)[], timeoutMs?: number) {
    this.#gate = gate;
    this.#statement = statement;
    this.text = statement.text;
    this.#values = values;
    this.query_timeout = timeoutMs;
  }

  submit(connection: Connection): void {
    const { name, text } = this.#statement;
    const { stream } = connection;
    stream.cork();
    try {
      connection.parse({ name: '', text: this.#gate, types: [] }, true);
      connection.bind({ values: [] }, true);
      connection.execute(null, true);
      if (connection.parsedStatements[name] === undefined) connection.parse({ name, text, types: [] }, true);
      connection.bind({ statement: name, values: [...this.#values] }, true);
      connection.execute(null, true);
      connection.sync();
    } finally {
      stream.uncork();
    }
  }

  handleDataRow({ fields }: { fields: TextRow }): void {
    if (this.#open) this.#rows.push(fields);
  }

  handleCommandComplete(): void {
    this.#open = true;
    this.name = this.#statement.name;
  }

  handleReadyForQuery(): void {
    this.callback?.(null, this.#rows);
  }

  handleError(error: Error): void {
    this.callback?.(error);
  }
}
