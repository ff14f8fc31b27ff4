import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { storableJson } from '../storable.ts';
import type { AlertStore, ClaimedAlert, NewBudgetAlert } from './alert-types.ts';

const ALERTS = `${SCHEMA}.budget_alerts`;

const RAISE = `
  INSERT INTO ${ALERTS} (window_id, threshold, raised_at, data, delivered_to, next_attempt_at)
  SELECT a.window_id, a.threshold, clock_timestamp(), a.data, '{}', CASE WHEN a.deliver THEN clock_timestamp() END
    FROM jsonb_to_recordset($1::jsonb) AS a (window_id uuid, threshold int, data jsonb, deliver boolean)
   ORDER BY a.window_id, a.threshold
  ON CONFLICT (window_id, threshold) DO NOTHING
  RETURNING window_id AS "windowId", threshold`;

const CLAIM = `
  WITH claimed AS (
    UPDATE ${ALERTS} a
       SET attempts = a.attempts + 1, next_attempt_at = clock_timestamp() + $1 * interval '1 ms'
     WHERE (a.window_id, a.threshold) IN (
       SELECT window_id, threshold FROM ${ALERTS} WHERE next_attempt_at <= clock_timestamp()
        ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING a.*)
  SELECT c.window_id, c.threshold, c.raised_at, c.data, c.delivered_to, c.attempts, p.sub IS NOT NULL AS known,
         p.email, p.name
    FROM claimed c LEFT JOIN ${SCHEMA}.principals p ON p.sub = c.data #>> '{subject,sub}'
   ORDER BY c.raised_at, c.window_id, c.threshold`;

const FINISH = `
  UPDATE ${ALERTS}
     SET delivered_to = delivered_to || $3::text[],
         next_attempt_at = CASE WHEN $4::float8 IS NOT NULL THEN clock_timestamp() + $4 * interval '1 ms' END
   WHERE window_id = $1 AND threshold = $2`;

interface AlertRow {
  readonly window_id: string;
  readonly threshold: number;
  readonly raised_at: Date;
  readonly data: Readonly<Record<string, unknown>>;
  readonly delivered_to: string[];
  readonly attempts: number;
  readonly known: boolean;
  readonly email: string | null;
  readonly name: string | null;
}

/** Times are the database's, so that replicas whose clocks differ agree on what is due. */
export class PostgresAlertStore implements AlertStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async raise(alerts: readonly NewBudgetAlert[]): Promise<{ windowId: string; threshold: number }[]> {
    if (alerts.length === 0) return [];
    const rows = alerts.map(({ windowId, threshold, data, deliver }) => ({
      window_id: windowId,
      threshold,
      data,
      deliver,
    }));
    return this.#database.query(RAISE, [storableJson(rows)]);
  }

  async claim({ leaseMs, limit }: { leaseMs: number; limit: number }): Promise<ClaimedAlert[]> {
    const rows = await this.#database.query<AlertRow>(CLAIM, [leaseMs, limit]);
    return rows.map((row) => ({
      windowId: row.window_id,
      threshold: row.threshold,
      raisedAt: row.raised_at,
      data: row.data,
      deliveredTo: row.delivered_to,
      attempts: row.attempts,
      person: row.known ? { email: row.email, name: row.name } : null,
    }));
  }

  async finish(
    alert: { windowId: string; threshold: number },
    { deliveredTo, retryAfterMs }: { deliveredTo: readonly string[]; retryAfterMs: number | null },
  ): Promise<void> {
    await this.#database.execute(FINISH, [alert.windowId, alert.threshold, deliveredTo, retryAfterMs]);
  }
}
