import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { createPool, goodbye, newPool, SCHEMA, Target, type ConnectionOptions } from './connection.ts';
import { awaitPostgres } from './start.ts';
import { loadSchemaEngine, NO_FILTERS, type MigrationList } from './schema-engine.ts';

/** `migrations/` lies beside both `src/` and `dist/`. */
const MIGRATIONS_DIR = fileURLToPath(new URL('../migrations', import.meta.url));
/** Of all replicas that boot, one migrates and the others wait for it this long. */
const LOCK_TIMEOUT_MS = 120_000;
/** A server that falls silent must not be waited for for good; the longest of scripts takes minutes. */
const SCRIPT_TIMEOUT_MS = 1_800_000;
const LOCK_POLL_MS = 500;
const ANSWER_WITHIN_MS = 10_000;
/** Advisory locks are (class, object): "clau". The sweeper has object 2, the rollup 3, charges 4. */
export const LOCK_CLASS = 0x636c6175;
/**
 * Of whoever migrates, from its beginning to its end. Versions before 0.2 took object 1 for a session: a pooler may hold that
 * for ever.
 */
const MIGRATING = 5;
/** Of each script, while it runs: it may outlive the replica that sent it. */
const SCRIPT = 6;
/** For one transaction: scripts take their time, but must not queue behind others' locks for ever. */
const SCRIPT_SETTINGS = `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
  SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}; SET LOCAL search_path = ${SCHEMA}`;

export interface Migration {
  /** Directory name: `<UTC time>_<what it does>`. */
  readonly name: string;
  readonly sql: string;
}

/** The migrations of this version, in order. */
export async function readMigrations(dir = MIGRATIONS_DIR): Promise<Migration[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names
      .sort()
      .map(async (name) => ({ name, sql: await readFile(join(dir, name, 'migration.sql'), 'utf8') })),
  );
}

/**
 * Brings the database to this version's schema, once over all replicas that boot at the same time. A role without
 * DDL rights is enough where there is nothing to do; that is found out with one plain query.
 *
 * @returns the names of the migrations applied by this call.
 * @throws Error naming the migration and PostgreSQL's reason. A migration that failed leaves nothing behind and is
 *   tried again by the next call.
 */
export async function migrate(
  options: ConnectionOptions & { migrations?: readonly Migration[] },
): Promise<{ applied: string[] }> {
  const target = new Target(options);
  const pool = createPool(target, 1, options.onEvent);
  try {
    await awaitPostgres(target, options);
    return { applied: await migrateWith(pool, target, options.onEvent, options.migrations) };
  } finally {
    await pool.end();
  }
}

/** @see migrate — for whoever has a pool already. It is used for the plain query only. */
export async function migrateWith(
  pool: pg.Pool,
  target: Target,
  onEvent: ConnectionOptions['onEvent'],
  migrations?: readonly Migration[],
): Promise<string[]> {
  const wanted = migrations ?? (await readMigrations());
  if ((await pendingMigrations(pool, wanted)).length === 0) return [];

  const onWait = (): void =>
    onEvent?.('info', 'waiting for another replica that migrates the database', { target: target.name });
  const lock = await MigrationLock.take(target, onWait);
  const scripts = scriptPool(target);
  try {
    const pending = await pendingMigrations(scripts, wanted);
    if (pending.length === 0) return [];
    await createSchema(scripts, target);
    await createRandomUuids(scripts);
    await settleInterrupted(scripts);
    onEvent?.('info', 'migrating the database', {
      target: target.name,
      migrations: pending.map(({ name }) => name),
    });
    return await apply(scripts, lock, wanted, pending);
  } finally {
    await scripts.end();
    await lock.release();
  }
}

/**
 * The right to migrate: a lock of a transaction that stays open. It ends with its connection, and so does the connection that
 * a pooler lends for it.
 */
class MigrationLock {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  /** @throws Error when another replica has it for too long. */
  static async take(target: Target, onWait: () => void): Promise<MigrationLock> {
    const client = target.client({ query_timeout: ANSWER_WITHIN_MS });
    // Shows with the next statement.
    client.on('error', () => undefined);
    try {
      await client.connect();
      const deadline = performance.now() + LOCK_TIMEOUT_MS;
      for (let tries = 0; !(await tryLock(client)); tries++) {
        if (tries === 1) onWait();
        if (performance.now() > deadline) {
          throw new Error(`another replica has been migrating the database for ${LOCK_TIMEOUT_MS / 1000} s`);
        }
        await sleep(LOCK_POLL_MS);
      }
      return new MigrationLock(client);
    } catch (error) {
      await goodbye(client);
      throw error;
    }
  }

  /** @throws Error when the lock is lost. */
  async assertHeld(): Promise<void> {
    await this.#client.query('SELECT 1');
  }

  async release(): Promise<void> {
    await this.#client.query('ROLLBACK').catch(() => undefined);
    await goodbye(this.#client);
  }
}

/** @returns whether the transaction that it began has the lock; otherwise there is none. */
async function tryLock(client: pg.Client): Promise<boolean> {
  const take = async (object: number): Promise<boolean> => {
    const { rows } = await client.query<{ ours: boolean }>(
      'SELECT pg_try_advisory_xact_lock($1, $2) AS ours',
      [LOCK_CLASS, object],
    );
    return rows[0]?.ours ?? false;
  };
  await client.query(`BEGIN; ${SCRIPT_SETTINGS}`);
  if (await take(MIGRATING)) {
    // Of a replica that died, PostgreSQL may still be at its last script.
    await client.query('SAVEPOINT look');
    const idle = await take(SCRIPT);
    await client.query('ROLLBACK TO look');
    if (idle) return true;
  }
  await client.query('ROLLBACK');
  return false;
}

/** One connection, of which nothing is expected from one statement to the next: each is a transaction of its own. */
function scriptPool(target: Target): pg.Pool {
  const pool = newPool(target, { max: 1, query_timeout: SCRIPT_TIMEOUT_MS });
  pool.on('error', () => undefined);
  const begin = `BEGIN; ${SCRIPT_SETTINGS}; SELECT pg_advisory_xact_lock(${LOCK_CLASS}, ${SCRIPT})`;
  // The driver's has a dozen forms: we and Prisma pass a text or a query, and wait for a promise.
  const query = async (
    query: string | pg.QueryArrayConfig,
    values?: unknown[],
  ): Promise<pg.QueryArrayResult> => {
    const client = await pool.connect();
    let broken: Error | undefined;
    try {
      await client.query(begin);
      const result = await client.query(withoutSessionLock(query), values);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch((failure: Error) => (broken = failure));
      throw error;
    } finally {
      client.release(broken);
    }
  };
  return Object.assign(pool, { query });
}

/** Prisma's engine takes a lock for its session; whoever migrates has one already, which poolers do not keep. */
function withoutSessionLock(query: string | pg.QueryArrayConfig): pg.QueryArrayConfig {
  if (typeof query === 'string' || !/^\s*SELECT pg_advisory_lock\(/.test(query.text)) {
    return query as pg.QueryArrayConfig;
  }
  return { ...query, text: 'SELECT NULL::void' };
}

async function pendingMigrations(pool: pg.Pool, wanted: readonly Migration[]): Promise<readonly Migration[]> {
  try {
    const { rows } = await pool.query<{ migration_name: string }>(
      `SELECT migration_name FROM ${SCHEMA}._prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL`,
    );
    const finished = new Set(rows.map((row) => row.migration_name));
    return wanted.filter(({ name }) => !finished.has(name));
  } catch (error) {
    const { code, message } = error as pg.DatabaseError;
    if (code === '42P01' || code === '3F000') return wanted;
    if (code !== '42501') throw error;
    throw new Error(
      `${message}: grant the role USAGE on schema ${SCHEMA} and SELECT, INSERT, UPDATE, DELETE on its tables`,
    );
  }
}

/** Only when it is missing: `IF NOT EXISTS` asks for the right to create before it looks. */
async function createSchema(pool: pg.Pool, target: Target): Promise<void> {
  const { rowCount } = await pool.query('SELECT FROM pg_namespace WHERE nspname = $1', [SCHEMA]);
  if (rowCount !== 0) return;
  try {
    await pool.query(`CREATE SCHEMA ${SCHEMA}`);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(
      `${target.name}: cannot create schema ${SCHEMA}: ${message}. Run CREATE SCHEMA ${SCHEMA} AUTHORIZATION <role> as the owner of the database`,
      { cause: error },
    );
  }
}

/**
 * PostgreSQL has had it since 13; columns that the gateway does not fill have it as their default. What it makes are names, and no
 * secrets: they need not be hard to guess.
 */
export async function createRandomUuids(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ missing: boolean }>(
    `SELECT to_regprocedure('gen_random_uuid()') IS NULL AS missing`,
  );
  if (!rows[0]?.missing) return;
  await pool.query(
    `CREATE FUNCTION ${SCHEMA}.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS
       $$ SELECT md5(random()::text || random()::text || clock_timestamp()::text || pg_backend_pid()::text)::uuid $$`,
  );
}

/**
 * A migration that was begun and not finished would stop the engine for good. Each runs in one transaction that also
 * counts its step, so we know which of the two it was: nothing happened, or all of it.
 */
async function settleInterrupted(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ present: boolean }>(
    `SELECT to_regclass('_prisma_migrations') IS NOT NULL AS present`,
  );
  if (!rows[0]?.present) return;
  await pool.query(
    `UPDATE _prisma_migrations
        SET finished_at = CASE WHEN applied_steps_count > 0 THEN now() END,
            rolled_back_at = CASE WHEN applied_steps_count = 0 THEN now() END
      WHERE finished_at IS NULL AND rolled_back_at IS NULL`,
  );
}

async function apply(
  pool: pg.Pool,
  lock: MigrationLock,
  wanted: readonly Migration[],
  pending: readonly Migration[],
): Promise<string[]> {
  let failure: Error | undefined;
  const engine = await loadSchemaEngine(pool, async (script) => {
    const migration = pending.find(({ sql }) => sql === script);
    await lock.assertHeld();
    const counted = `${script}\n;UPDATE _prisma_migrations SET applied_steps_count = 1 WHERE finished_at IS NULL AND rolled_back_at IS NULL`;
    try {
      await pool.query(migration ? counted : script);
    } catch (error) {
      failure = new Error(`migration ${migration?.name ?? 'history'} failed: ${(error as Error).message}`, {
        cause: error,
      });
      throw error;
    }
  });
  try {
    return (await engine.applyMigrations({ migrationsList: migrationList(wanted), filters: NO_FILTERS }))
      .appliedMigrationNames;
  } catch (error) {
    throw failure ?? error;
  } finally {
    engine.free();
  }
}

/** As the engine wants to see a directory of migrations. */
export function migrationList(migrations: readonly Migration[]): MigrationList {
  return {
    baseDir: MIGRATIONS_DIR,
    lockfile: { path: 'migration_lock.toml', content: 'provider = "postgresql"' },
    shadowDbInitScript: '',
    migrationDirectories: migrations.map(({ name, sql }) => ({
      path: name,
      migrationFile: { path: 'migration.sql', content: { tag: 'ok', value: sql } },
    })),
  };
}
