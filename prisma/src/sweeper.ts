import { SCHEMA } from './connection.ts';
import type { Database } from './database.ts';
import { RECORD_RETENTION_DAYS } from './ledger/usage-rollup.ts';
import type { Retention } from './ledger/usage-types.ts';
import { CLIENT_LIFETIME_MS } from './managed/settings-clients.ts';
import { LOCK_CLASS } from './migrations.ts';
import type { StoreOptions } from './types.ts';
import { pause } from './pause.ts';

const INTERVAL_MS = 60_000;
const BATCH = 1_000;
const LOCK_OBJECT = 2;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Replicas' clocks differ: what has expired for one may still be asked for by another. */
const CLOCK_TOLERANCE_MS = 5 * MINUTE_MS;
/** How long a session is remembered that was revoked or has not been refreshed, and a replaced refresh token. */
export const RETENTION_MS = 30 * DAY_MS;

export const DEFAULT_RETENTION: Retention = { spendMonths: 13, auditDays: 365, identityDays: 90 };
/** A window, its alerts and its hours outlive its last settlement by far, whatever is asked for. */
const SHORTEST_SPEND_MS = RECORD_RETENTION_DAYS * DAY_MS;

interface Rule {
  readonly table: string;
  readonly column: string;
  /** Rows go when the column lies further back. */
  readonly before: (now: Date) => Date;
  /** And only when this holds of them. */
  readonly provided?: string;
}

const after =
  (ms: number) =>
  (now: Date): Date =>
    new Date(now.getTime() - ms);

/** Calendar months, in UTC; a day that the month does not have is its last one. */
function monthsBefore(now: Date, months: number): Date {
  const date = new Date(now);
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() - months);
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(now.getUTCDate(), lastDay));
  return date;
}

/** Records that the hours have and speak for, see usage-rollup.ts. */
const ADDED_UP = `EXISTS (
  SELECT FROM ${SCHEMA}.usage_rollup m
   WHERE m.id = 1 AND t.admitted_at < m.records_from AND t.settled_at < m.settled_until)`;

function rulesFor({ spendMonths, auditDays, identityDays }: Retention): Rule[] {
  const spend = (now: Date): Date =>
    new Date(Math.min(monthsBefore(now, spendMonths).getTime(), now.getTime() - SHORTEST_SPEND_MS));
  const audit = after(auditDays * DAY_MS);
  return [
    ...SIGN_IN_RULES,
    { table: 'settings_clients', column: 'fetched_at', before: after(CLIENT_LIFETIME_MS) },
    {
      table: 'usage_records',
      column: 'admitted_at',
      before: after(RECORD_RETENTION_DAYS * DAY_MS),
      provided: ADDED_UP,
    },
    { table: 'usage_hours', column: 'hour', before: spend },
    { table: 'budget_windows', column: 'ends_at', before: spend, provided: 't.held = 0' },
    { table: 'budget_alerts', column: 'raised_at', before: spend },
    { table: 'admin_audit', column: 'recorded_at', before: audit },
    { table: 'limit_increase_requests', column: 'created_at', before: audit },
    { table: 'principals', column: 'last_seen_at', before: after(identityDays * DAY_MS) },
  ];
}

const SIGN_IN_RULES: readonly Rule[] = [
  { table: 'sign_in_attempts', column: 'expires_at', before: after(CLOCK_TOLERANCE_MS) },
  { table: 'device_grants', column: 'expires_at', before: after(CLOCK_TOLERANCE_MS) },
  { table: 'rate_limit_windows', column: 'expires_at', before: after(CLOCK_TOLERANCE_MS) },
  { table: 'revocations', column: 'expires_at', before: after(CLOCK_TOLERANCE_MS) },
  { table: 'replaced_refresh_tokens', column: 'replaced_at', before: after(RETENTION_MS) },
  { table: 'budget_recalls', column: 'recalled_at', before: after(CLOCK_TOLERANCE_MS) },
  { table: 'sessions', column: 'revoked_at', before: after(RETENTION_MS) },
  { table: 'sessions', column: 'refreshed_at', before: after(RETENTION_MS) },
];

/** One batch, unless another replica is at it. The lock ends with the statement. */
const sweep = ({ table, column, provided = 'true' }: Rule): string => `
  WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(${LOCK_CLASS}, ${LOCK_OBJECT}) AS ours)
  DELETE FROM ${SCHEMA}.${table} WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM ${SCHEMA}.${table} t WHERE (SELECT ours FROM turn) AND t.${column} < $1 AND ${provided}
     LIMIT ${BATCH} FOR UPDATE SKIP LOCKED))`;

/** Removes what has expired, in small batches, one replica at a time. */
export class Sweeper {
  readonly #database: Database;
  readonly #onEvent: StoreOptions['onEvent'];
  readonly #rules: readonly Rule[];
  readonly #closing = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(database: Database, onEvent: StoreOptions['onEvent'], retention: Partial<Retention> = {}) {
    this.#database = database;
    this.#rules = rulesFor({ ...DEFAULT_RETENTION, ...retention });
    this.#onEvent = onEvent;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** @returns how many rows went, by table. @throws StoreUnavailableError */
  async sweep(now: Date): Promise<Record<string, number>> {
    const swept: Record<string, number> = {};
    for (const rule of this.#rules) {
      const before = rule.before(now);
      let count: number;
      do {
        count = await this.#database.execute(sweep(rule), [before]);
        if (count > 0) swept[rule.table] = (swept[rule.table] ?? 0) + count;
      } while (count === BATCH && !this.#closing.signal.aborted);
    }
    return swept;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (await pause(INTERVAL_MS * (0.5 + Math.random()), this.#closing.signal)) {
      try {
        const swept = await this.sweep(new Date());
        if (Object.keys(swept).length > 0) this.#onEvent?.('info', 'removed expired rows', swept);
      } catch (error) {
        this.#onEvent?.('warn', 'cannot remove expired rows', { reason: (error as Error).message });
      }
    }
  }
}
