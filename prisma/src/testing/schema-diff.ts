import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import {
  ColumnTypeEnum,
  type SqlDriverAdapter,
  type SqlQuery,
  type SqlResultSet,
} from '@prisma/driver-adapter-utils';
import pg from 'pg';
import { SCHEMA } from '../connection.ts';
import { migrationList, readMigrations } from '../migrations.ts';
import { loadSchemaEngine, NO_FILTERS } from '../schema-engine.ts';

const SCHEMA_FILE = fileURLToPath(new URL('../../schema.prisma', import.meta.url));

/**
 * The SQL that leads from what the migrations make to what schema.prisma says: empty when they agree.
 *
 * @param emptyDatabase URL of a database that may be filled.
 */
export async function schemaDiff(emptyDatabase: string): Promise<string> {
  const pool = new pg.Pool({
    connectionString: emptyDatabase,
    max: 1,
    onConnect: (client) => client.query(`SET search_path = ${SCHEMA}`) as unknown as void,
  });
  try {
    const engine = await loadSchemaEngine(
      pool,
      async (script) => void (await pool.query(script)),
      readChars(pool),
    );
    const { stdout } = await engine.diff({
      from: { tag: 'migrations', ...migrationList(await readMigrations()) },
      to: {
        tag: 'schemaDatamodel',
        files: [{ path: 'schema.prisma', content: await readFile(SCHEMA_FILE, 'utf8') }],
      },
      script: true,
      exitCode: null,
      filters: NO_FILTERS,
    });
    engine.free();
    return stdout === null || /^\s*-- This is an empty migration\.\s*$/.test(stdout) ? '' : stdout.trim();
  } finally {
    await pool.end();
  }
}

/**
 * The catalogs are full of the type "char" (OID 18), which the adapter does not know and the engine insists on. The
 * pool reports them as text (25), which reads the same, and the adapter then as characters.
 *
 * @returns the decoration of an adapter on this pool.
 */
function readChars(pool: pg.Pool): (adapter: SqlDriverAdapter) => SqlDriverAdapter {
  const charsOf = new Map<string, number[]>();
  const query = pool.query.bind(pool) as (statement: pg.QueryConfig) => Promise<pg.QueryResult>;
  Object.assign(pool, {
    query: async (statement: pg.QueryConfig): Promise<pg.QueryResult> => {
      const result = await query(statement);
      const chars = (result.fields ?? []).flatMap((field, index) => (field.dataTypeID === 18 ? [index] : []));
      for (const index of chars) Object.assign(result.fields[index] ?? {}, { dataTypeID: 25 });
      charsOf.set(statement.text, chars);
      return result;
    },
  });
  return (adapter) => {
    const queryRaw = adapter.queryRaw.bind(adapter);
    return Object.assign(adapter, {
      queryRaw: async (statement: SqlQuery): Promise<SqlResultSet> => {
        const result = await queryRaw(statement);
        for (const index of charsOf.get(statement.sql) ?? [])
          result.columnTypes[index] = ColumnTypeEnum.Character;
        return result;
      },
    });
  };
}
