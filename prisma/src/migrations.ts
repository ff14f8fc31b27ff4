import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import {
  awaitPostgres,
  connectionTarget,
  createPool,
  newPool,
  SCHEMA,
  type ConnectionOptions,
  type Target,
} from './connection.ts';
import { loadSchemaEngine, NO_FILTERS, type MigrationList } from './schema-engine.ts';
import type { StoreOptions } from './types.ts';

/** `migrations/` lies beside both `src/` and `dist/`. */
const MIGRATIONS_DIR = fileURLToPath(new URL('../migrations', import.meta.url));
/** Of all replicas that boot, one migrates and the others wait for it this long. */
const LOCK_TIMEOUT_MS = 120_000;
/** A server that falls silent must not be waited for for good; the longest of scripts takes minutes. */
const SCRIPT_TIMEOUT_MS = 1_800_000;
/** Session advisory lock, as (class, object): "clau", migrations. The sweeper's is the same class, object 2. */
export const LOCK_CLASS = 0x636c6175;
const LOCK_OBJECT = 1;

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
  const target = connectionTarget(options);
  const pool = createPool(target, 1, options.onEvent);
  try {
    await awaitPostgres(pool, target, options);
    return { applied: await migrateWith(pool, target, options.onEvent, options.migrations) };
  } finally {
    await pool.end();
  }
}

/** @see migrate — for whoever has a pool already. It is used for the plain query only. */
export async function migrateWith(
  pool: pg.Pool,
  target: Target,
  onEvent: StoreOptions['onEvent'],
  migrations?: readonly Migration[],
): Promise<string[]> {
  const wanted = migrations ?? (await readMigrations());
  if ((await pendingMigrations(pool, wanted)).length === 0) return [];

  let session: pg.PoolClient | undefined;
  const migrationPool = newPool(target, {
    query_timeout: SCRIPT_TIMEOUT_MS,
    // One connection holds the lock and runs the scripts: if we die, the server frees the lock only when it has
    // ended the script.
    max: 1,
    onConnect: (client) =>
      client.query(
        `SET statement_timeout = 0; SET idle_session_timeout = 0; SET lock_timeout = ${LOCK_TIMEOUT_MS}; SET search_path = ${SCHEMA}`,
      ) as unknown as void,
  });
  migrationPool.on('error', () => undefined);
  try {
    session = await migrationPool.connect();
    await lock(session);
    const pending = await pendingMigrations(session, wanted);
    if (pending.length === 0) return [];
    await createSchema(session, target);
    await settleInterrupted(session);
    session.release();
    session = undefined;
    onEvent?.('info', 'migrating the database', {
      target: target.name,
      migrations: pending.map(({ name }) => name),
    });
    return await apply(migrationPool, wanted, pending);
  } finally {
    session?.release();
    await migrationPool.end();
  }
}

async function pendingMigrations(
  client: pg.Pool | pg.PoolClient,
  wanted: readonly Migration[],
): Promise<readonly Migration[]> {
  try {
    const { rows } = await client.query<{ migration_name: string }>(
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

async function lock(client: pg.PoolClient): Promise<void> {
  try {
    await client.query('SELECT pg_advisory_lock($1, $2)', [LOCK_CLASS, LOCK_OBJECT]);
  } catch (error) {
    if ((error as pg.DatabaseError).code !== '55P03') throw error;
    throw new Error(`another replica has been migrating the database for ${LOCK_TIMEOUT_MS / 1000} s`, {
      cause: error,
    });
  }
}

/** Only when it is missing: `IF NOT EXISTS` asks for the right to create before it looks. */
async function createSchema(client: pg.PoolClient, target: Target): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_namespace WHERE nspname = $1', [SCHEMA]);
  if (rowCount !== 0) return;
  try {
    await client.query(`CREATE SCHEMA ${SCHEMA}`);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(
      `${target.name}: cannot create schema ${SCHEMA}: ${message}. Run CREATE SCHEMA ${SCHEMA} AUTHORIZATION <role> as the owner of the database`,
      { cause: error },
    );
  }
}

/**
 * A migration that was begun and not finished would stop the engine for good. Each runs in one transaction that also
 * counts its step, so we know which of the two it was: nothing happened, or all of it.
 */
async function settleInterrupted(client: pg.PoolClient): Promise<void> {
  const { rows } = await client.query<{ present: boolean }>(
    `SELECT to_regclass('_prisma_migrations') IS NOT NULL AS present`,
  );
  if (!rows[0]?.present) return;
  await client.query(
    `UPDATE _prisma_migrations
        SET finished_at = CASE WHEN applied_steps_count > 0 THEN now() END,
            rolled_back_at = CASE WHEN applied_steps_count = 0 THEN now() END
      WHERE finished_at IS NULL AND rolled_back_at IS NULL`,
  );
}

async function apply(
  pool: pg.Pool,
  wanted: readonly Migration[],
  pending: readonly Migration[],
): Promise<string[]> {
  let failure: Error | undefined;
  const engine = await loadSchemaEngine(pool, async (script) => {
    const migration = pending.find(({ sql }) => sql === script);
    // Several statements in one message are one transaction.
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
