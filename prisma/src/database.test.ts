import { describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Database } from './database.ts';
import { StoreUnavailableError } from './errors.ts';
import { nameOf } from './gated-query.ts';
import { POSTGRES_VERSIONS, usePostgres } from './testing/postgres.ts';

const ADD = { name: 'add', text: 'SELECT $1::bigint + 1, NULL, current_setting($2, true)' };
const GATE = `SELECT set_config('test.gate', 'passed', true)`;

describe.each(POSTGRES_VERSIONS)('statements on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  async function withDatabase<T>(work: (database: Database) => Promise<T>): Promise<T> {
    const pool = new pg.Pool({ connectionString: postgres.url, max: 1 });
    // The server may stop before a connection has said goodbye.
    pool.on('error', () => undefined);
    const database = new Database(pool);
    try {
      return await work(database);
    } finally {
      await database.close();
    }
  }

  const prepared = (database: Database) =>
    database.query<{ name: string }>('SELECT name FROM pg_prepared_statements');

  it('are prepared once, behind a gate or without', async () => {
    await withDatabase(async (database) => {
      for (let i = 0; i < 3; i++) {
        const row = await database.gated(GATE, ADD, ['9007199254740993', 'test.gate']);
        expect(row).toEqual([['9007199254740994', null, 'passed']]);
      }
      // The gate's transaction is over.
      expect(await database.prepared(ADD, ['1', 'test.gate'])).toEqual([['2', null, '']]);
      expect(await prepared(database)).toEqual([{ name: nameOf(ADD) }]);
    });
  });

  it('are one transaction with their gate', async () => {
    await postgres.sql('create table if not exists gates (n int)');
    await withDatabase(async (database) => {
      const gate = 'INSERT INTO gates VALUES (1)';
      await expect(database.gated(gate, ADD, ['no number', 'x'])).rejects.toThrow('invalid input syntax');
      expect(await postgres.sql('select from gates')).toEqual([]);
      await expect(database.gated('SELECT 1/0', ADD, ['1', 'x'])).rejects.toThrow('division by zero');
      await database.gated(gate, ADD, ['1', 'x']);
      expect(await postgres.sql('select from gates')).toHaveLength(1);
    });
  });

  it('survive a connection that breaks between two of them', async () => {
    await withDatabase(async (database) => {
      const broken = database.transaction(async (client) => {
        const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        await postgres.sql('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
        await sleep(200);
        await client.query('SELECT 1');
      });
      await expect(broken).rejects.toBeInstanceOf(StoreUnavailableError);
      expect(await database.transaction(async (client) => (await client.query('SELECT')).rowCount)).toBe(1);
    });
  });

  it('are sent whole where a pooler forgets or mixes up what is prepared', async () => {
    for (const mishap of ['DEALLOCATE ALL', `PREPARE ${nameOf(ADD)} AS SELECT 1`]) {
      await withDatabase(async (database) => {
        if (mishap === 'DEALLOCATE ALL') await database.gated(GATE, ADD, ['1', 'test.gate']);
        await database.query(mishap);
        // Several at once meet it at once.
        const all = Array.from({ length: 3 }, () => database.gated(GATE, ADD, ['1', 'test.gate']));
        expect(await Promise.all(all)).toEqual(all.map(() => [['2', null, 'passed']]));
        for (let i = 0; i < 2; i++) {
          expect(await database.gated(GATE, ADD, ['1', 'test.gate'])).toEqual([['2', null, 'passed']]);
          expect(await database.prepared(ADD, ['1', 'test.gate'])).toEqual([['2', null, '']]);
        }
        const before = await prepared(database);
        await database.prepared({ name: 'other', text: 'SELECT $1::int' }, [1]);
        expect(await prepared(database)).toEqual(before);
      });
    }
  });

  it('have a name of their own in each version of their text', () => {
    expect(nameOf({ ...ADD, text: 'SELECT 2' })).not.toBe(nameOf(ADD));
    expect(nameOf({ ...ADD })).toBe(nameOf(ADD));
  });

  it('leave nothing behind on a connection, not even how long they may take', async () => {
    await withDatabase(async (database) => {
      const settings = `SELECT current_setting('statement_timeout') AS s, current_setting('idle_in_transaction_session_timeout') AS i`;
      const within = await database.transaction(
        async (client) => (await client.query<{ s: string; i: string }>(settings)).rows,
      );
      expect(within).toEqual([{ s: '5s', i: '6s' }]);
      expect(await database.query(settings)).toEqual([{ s: '0', i: '0' }]);
    });
  });
});
