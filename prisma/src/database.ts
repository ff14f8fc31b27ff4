import { PrismaPg } from '@prisma/adapter-pg';
import type pg from 'pg';
import { LOCAL_TIMEOUTS, SCHEMA } from './connection.ts';
import type { ConnectionShare } from './connection-share.ts';
import { asStoreError } from './errors.ts';
import { GatedQuery, nameOf, type Statement, type TextRow } from './gated-query.ts';
import { PrismaClient } from './generated/client.ts';

/**
 * One pool, two ways to speak through it: Prisma Client for ordinary reads and writes, parameterised SQL where one
 * statement has to do several things at once. Both throw StoreUnavailableError when the server is at fault.
 */
export class Database {
  readonly pool: pg.Pool;
  readonly #share: ConnectionShare | undefined;
  readonly #prisma: PrismaClient;
  readonly #statements: { kept: boolean };

  /** @param parts.share Bounds how many calls use the pool at the same time. Absent: only the pool itself does. */
  constructor(
    pool: pg.Pool,
    parts: { share?: ConnectionShare; prisma?: PrismaClient; statements?: { kept: boolean } } = {},
  ) {
    this.pool = pool;
    this.#share = parts.share;
    this.#statements = parts.statements ?? { kept: true };
    this.#prisma =
      parts.prisma ??
      new PrismaClient({ adapter: new PrismaPg(pool, { schema: SCHEMA }), errorFormat: 'minimal' });
  }

  /** The same pool, of which callers get no more than a share. Closed with this one. */
  within(share: ConnectionShare): Database {
    return new Database(this.pool, { share, prisma: this.#prisma, statements: this.#statements });
  }

  #shared<T>(work: () => Promise<T>): Promise<T> {
    return this.#share === undefined ? work() : this.#share.run(work);
  }

  /** One statement, one round trip. @returns its rows. */
  async query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    try {
      return (await this.#shared(() => this.pool.query<Row>(text, values as unknown[]))).rows;
    } catch (error) {
      throw asStoreError(error);
    }
  }

  /** As `query`, prepared once on each connection, for statements that take longer to plan than to run. */
  prepared(statement: Statement, values: readonly (string | number | null)[]): Promise<TextRow[]> {
    return this.#named(statement, async (named) => {
      const query = { ...named, values: [...values], rowMode: 'array' as const, types: AS_TEXT };
      return (await this.#shared(() => this.pool.query<TextRow>(query))).rows;
    });
  }

  /** As `prepared`, behind a statement that takes locks: see {@link GatedQuery}. */
  gated(
    gate: string,
    statement: Statement,
    values: readonly (string | null)[],
    timeoutMs?: number,
  ): Promise<TextRow[]> {
    return this.#named(statement, (named) => {
      const query = new GatedQuery(gate, { name: '', ...named }, values, timeoutMs);
      return this.#shared(
        () =>
          new Promise<TextRow[]>((resolve, reject) => {
            this.pool.query(query as unknown as string, [], (error, rows) => {
              if (error as Error | undefined) reject(error);
              else resolve(rows as unknown as TextRow[]);
            });
          }),
      );
    });
  }

  /**
   * Connection poolers may hand our connection's statements to another one of theirs. Where that shows, nothing has been
   * done yet; from then on nothing is prepared.
   */
  async #named<T>(
    statement: Statement,
    run: (named: { readonly name?: string; readonly text: string }) => Promise<T>,
  ): Promise<T> {
    const { text } = statement;
    const { kept } = this.#statements;
    try {
      return await run(kept ? { name: nameOf(statement), text } : { text });
    } catch (error) {
      if (!kept || !FORGOTTEN.has((error as pg.DatabaseError).code)) throw asStoreError(error);
      this.#statements.kept = false;
      return this.#named(statement, run);
    }
  }

  /** As `query`, for statements that return nothing. @returns the number of rows touched. */
  async execute(text: string, values: readonly unknown[] = []): Promise<number> {
    try {
      return (await this.#shared(() => this.pool.query(text, values as unknown[]))).rowCount ?? 0;
    } catch (error) {
      throw asStoreError(error);
    }
  }

  /** Several statements on one connection: all of them, or none. Each sees what was committed when it began. */
  transaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return this.#shared(() => this.#transaction(work));
  }

  async #transaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    let client: pg.PoolClient | undefined;
    let broken: Error | undefined;
    // Between two statements nobody else would hear it, and an error that nobody hears ends the process.
    const onError = (error: Error): void => void (broken = error);
    try {
      client = await this.pool.connect();
      client.on('error', onError);
      await client.query(`BEGIN; ${LOCAL_TIMEOUTS}`);
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client?.query('ROLLBACK').catch((failure: Error) => (broken = failure));
      throw asStoreError(error);
    } finally {
      client?.off('error', onError);
      client?.release(broken);
    }
  }

  async prisma<T>(work: (client: PrismaClient) => Promise<T>): Promise<T> {
    try {
      return await this.#shared(() => work(this.#prisma));
    } catch (error) {
      throw asStoreError(error);
    }
  }

  /** Prisma Client loads its query compiler (some 200 ms) on first use: at boot, not in somebody's sign-in. */
  async warmUp(): Promise<void> {
    await this.prisma((prisma) => prisma.$connect());
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await this.#prisma.$disconnect();
    await this.pool.end();
  }
}

/** What PostgreSQL says of a prepared statement that is not there, or is there already. */
const FORGOTTEN: ReadonlySet<string | undefined> = new Set(['26000', '42P05']);

const AS_TEXT: pg.CustomTypesConfig = { getTypeParser: () => (value: string) => value };

/** Prisma wants bytes that own their memory; a Buffer may be a view of a larger one. */
export function bytes(buffer: Buffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer);
}
