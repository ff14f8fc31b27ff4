import { hourOf } from './records.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { LOCK_CLASS } from '../migrations.ts';
import type { StoreOptions } from '../types.ts';
import { pause } from '../pause.ts';
import { MAX_HOUR } from './amounts.ts';

/** How long the records themselves are kept: a monthly window must always be able to be added up again. */
export const RECORD_RETENTION_DAYS = 62;

const INTERVAL_MS = 180_000;
/** Advisory locks of the class of migrations.ts: 1 migrations, 2 the sweeper. */
const LOCK_OBJECT = 3;
/** The database's clock may be set back a little, most of all when a standby takes over. */
const OVERLAP = `interval '1 minute'`;
/** Records that one step adds up, so that a backlog goes in steps that each fit their time limit. */
const STEP = 50_000;
const STATEMENT_TIMEOUT_MS = 60_000;
const WRITERS_TIMEOUT_MS = 3_000;
const WRITERS_POLL_MS = 20;

const RECORDS = `${SCHEMA}.usage_records`;
const HOURS = `${SCHEMA}.usage_hours`;
const MARK = `${SCHEMA}.usage_rollup`;

/** Longer names could not be in the key of usage_hours, and one such record would stop them all. */
const NAME_LENGTH = 200;

const SUMS = [
  'requests',
  'input_tokens',
  'output_tokens',
  'cache_read_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'web_searches',
  'cost_nano_usd',
] as const;

const COUNTED = SUMS.slice(1);

/**
 * Adds `source` up in the form of usage_hours. `groups` are a set: their order makes no other key. They are put in order
 * once for each combination, not for each record.
 */
const byHour = (source: string): string => `
  SELECT hour, sub, ordered AS groups, encode(sha256(convert_to(to_json(ordered)::text, 'UTF8')), 'hex') AS groups_key,
         model, upstream, ${SUMS.map((name) => `least(sum(${name}), ${MAX_HOUR})::bigint AS ${name}`).join(', ')}
    FROM (SELECT ${hourOf('r.admitted_at')} AS hour, r.sub, r.groups,
                 left(r.model, ${NAME_LENGTH}) AS model, left(coalesce(r.upstream, ''), ${NAME_LENGTH}) AS upstream,
                 count(*) AS requests, ${COUNTED.map((name) => `sum(r.${name}) AS ${name}`).join(', ')}
            FROM ${source}
           GROUP BY 1, r.sub, r.groups, 4, 5) r,
         LATERAL (SELECT ARRAY(SELECT DISTINCT g COLLATE "C" FROM unnest(r.groups) g ORDER BY g COLLATE "C")) o (ordered)
   GROUP BY hour, sub, ordered, model, upstream`;

const KEY = ['hour', 'sub', 'groups_key', 'model', 'upstream'];
const COLUMNS = ['hour', 'sub', 'groups', 'groups_key', 'model', 'upstream', ...SUMS].join(', ');

const RECORDS_FROM = `(SELECT coalesce(records_from, '-infinity') FROM ${MARK} WHERE id = 1)`;

const FIRST_MARK = `
  INSERT INTO ${MARK} (id, settled_until) VALUES (1, '-infinity') ON CONFLICT (id) DO NOTHING`;

/**
 * Who is writing records now. Their locks end after their rows are visible, so when all of them have gone every record
 * settled before we looked can be seen.
 */
const WRITERS = `
  SELECT virtualtransaction AS id FROM pg_locks
   WHERE locktype = 'relation' AND relation = '${RECORDS}'::regclass AND mode = 'RowExclusiveLock' AND granted
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND pid IS DISTINCT FROM pg_backend_pid()`;

const POSITION = `SELECT settled_until::text AS mark FROM ${MARK} WHERE id = 1`;

/** Where a step that begins at `$1` ends: at `$2`, or before that when there is a backlog. */
const STEP_END = `
  SELECT least($2::timestamptz, CASE WHEN count(*) = ${STEP} THEN max(settled_at) + interval '1 microsecond' END)::text
         AS until
    FROM (SELECT settled_at FROM ${RECORDS} WHERE settled_at >= $1::timestamptz
           ORDER BY settled_at LIMIT ${STEP}) next`;

/**
 * Adds up again every hour that has records settled from `$1` to `$2`, whatever was there. One statement, so that readers
 * see the mark move with the hours. Sums that did not change are not written.
 */
const ADD_UP = `
  WITH due AS MATERIALIZED (
    SELECT DISTINCT ${hourOf('r.admitted_at')} AS hour FROM ${RECORDS} r
     WHERE r.settled_at >= $1::timestamptz AND r.settled_at < $2::timestamptz AND r.admitted_at >= ${RECORDS_FROM}),
  fresh AS MATERIALIZED (${byHour(
    `due d JOIN ${RECORDS} r ON r.admitted_at >= d.hour AND r.admitted_at < d.hour + interval '1 hour'`,
  )}),
  gone AS (
    DELETE FROM ${HOURS} h USING due WHERE h.hour = due.hour AND NOT EXISTS (
      SELECT FROM fresh f WHERE ${KEY.map((name) => `f.${name} = h.${name}`).join(' AND ')})),
  put AS (
    INSERT INTO ${HOURS} AS h (${COLUMNS}) SELECT ${COLUMNS} FROM fresh
    ON CONFLICT (${KEY.join(', ')}) DO UPDATE SET ${SUMS.map((name) => `${name} = excluded.${name}`).join(', ')}
     WHERE (${SUMS.map((name) => `h.${name}`).join(', ')})
           IS DISTINCT FROM (${SUMS.map((name) => `excluded.${name}`).join(', ')}))
  UPDATE ${MARK} SET settled_until = greatest(settled_until, least($2::timestamptz, $3::timestamptz - ${OVERLAP}))
   WHERE id = 1`;

/** Records whose hours have none any more: they are added to what is known, and go. */
const ADD_LATE = `
  WITH taken AS (
    DELETE FROM ${RECORDS} r
     WHERE r.admitted_at < ${RECORDS_FROM} AND r.settled_at >= $1::timestamptz AND r.settled_at < $2::timestamptz
    RETURNING r.*)
  INSERT INTO ${HOURS} AS h (${COLUMNS}) SELECT ${COLUMNS} FROM (${byHour('taken r')}) late
  ON CONFLICT (${KEY.join(', ')}) DO UPDATE SET ${SUMS.map((name) => `${name} = least(h.${name} + excluded.${name}, ${MAX_HOUR})`).join(', ')}`;

/**
 * From here on the hours before `$2` speak for themselves. Records among them that a reader would take for late ones go
 * at once; the sweeper takes the others.
 */
const ADVANCE = `
  WITH mark AS (
    UPDATE ${MARK} SET records_from = $2 WHERE id = 1 AND (records_from IS NULL OR records_from < $2)
    RETURNING settled_until)
  DELETE FROM ${RECORDS} r USING mark
   WHERE r.admitted_at < $2 AND r.settled_at >= mark.settled_until AND r.settled_at < $1::timestamptz`;

/**
 * Adds usage records up by hour: idempotent, one replica at a time, and exact however late a record comes or is
 * corrected, since a whole hour is added up again whenever a record of it was settled.
 */
export class UsageRollup {
  readonly #database: Database;
  readonly #onEvent: StoreOptions['onEvent'];
  readonly #closing = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(database: Database, onEvent: StoreOptions['onEvent']) {
    this.#database = database;
    this.#onEvent = onEvent;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /**
   * @param now Decides which records are old enough to go.
   * @returns false when another replica is at it, or a settlement was under way for too long.
   * @throws StoreUnavailableError
   */
  async rollUp(now = new Date()): Promise<boolean> {
    for (let from: string | null = null; ;) {
      const step: Step = await this.#step(from, now);
      if (step.state !== 'more') return step.state === 'done';
      if (this.#closing.signal.aborted) return false;
      from = step.from;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  #step(from: string | null, now: Date): Promise<Step> {
    return this.#database.transaction(async (client) => {
      const { ours } = await one<{ ours: boolean }>(
        client,
        `SELECT pg_try_advisory_xact_lock(${LOCK_CLASS}, ${LOCK_OBJECT}) AS ours`,
      );
      if (!ours) return BUSY;
      await client.query(`SET LOCAL statement_timeout = ${STATEMENT_TIMEOUT_MS}`);
      await client.query(FIRST_MARK);
      const begin = from ?? (await one<{ mark: string }>(client, POSITION)).mark;
      // As text: a Date would lose the microseconds.
      const { end } = await one<{ end: string }>(client, 'SELECT clock_timestamp()::text AS end');
      if (!(await writersGone(client))) return BUSY;
      const { until } = await one<{ until: string }>(client, STEP_END, [begin, end]);
      await slowly(client, ADD_UP, [begin, until, end]);
      await slowly(client, ADD_LATE, [begin, until]);
      if (until !== end) return { state: 'more', from: until };
      await slowly(client, ADVANCE, [until, recordsFrom(now)]);
      return DONE;
    });
  }

  /** Replicas take turns: one of them is enough. */
  async #isDue(): Promise<boolean> {
    const recent = await this.#database.query(
      `SELECT FROM ${MARK} WHERE id = 1 AND settled_until > clock_timestamp() - ${OVERLAP} - interval '${INTERVAL_MS / 2} ms'`,
    );
    return recent.length === 0;
  }

  async #run(): Promise<void> {
    while (await pause(INTERVAL_MS * (0.5 + Math.random()), this.#closing.signal)) {
      try {
        if (await this.#isDue()) await this.rollUp();
      } catch (error) {
        this.#onEvent?.('warn', 'cannot add usage up', { reason: (error as Error).message });
      }
    }
  }
}

type Step =
  | { readonly state: 'done' }
  /** Another replica is at it, or a settlement is under way for too long. */
  | { readonly state: 'busy' }
  | { readonly state: 'more'; readonly from: string };

const DONE: Step = { state: 'done' };
const BUSY: Step = { state: 'busy' };

async function one<Row extends pg.QueryResultRow>(
  client: pg.PoolClient,
  text: string,
  values: unknown[] = [],
): Promise<Row> {
  return (await client.query<Row>(text, values)).rows[0]!;
}

/** Full hours only: an hour is known by its records or by its sums. */
function recordsFrom(now: Date): Date {
  const from = new Date(now.getTime() - RECORD_RETENTION_DAYS * 86_400_000);
  from.setUTCMinutes(0, 0, 0);
  return from;
}

/** The pool gives answers less time than these statements may take. */
async function slowly(client: pg.PoolClient, text: string, values: unknown[]): Promise<void> {
  const query: pg.QueryConfig & { query_timeout: number } = {
    text,
    values,
    query_timeout: STATEMENT_TIMEOUT_MS + 1_000,
  };
  await client.query(query);
}

async function writersGone(client: pg.PoolClient): Promise<boolean> {
  const deadline = performance.now() + WRITERS_TIMEOUT_MS;
  const { rows } = await client.query<{ id: string }>(WRITERS);
  let ids = rows.map(({ id }) => id);
  while (ids.length > 0) {
    if (performance.now() > deadline) return false;
    await sleep(WRITERS_POLL_MS);
    const still = await client.query<{ id: string }>(`${WRITERS} AND virtualtransaction = ANY ($1)`, [ids]);
    ids = still.rows.map(({ id }) => id);
  }
  return true;
}
