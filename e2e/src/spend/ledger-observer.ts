import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Budget } from './caps.ts';

export interface WindowRow {
  readonly id: string;
  readonly subjectKind: Budget['subjectKind'];
  readonly subject: string;
  readonly unit: string;
  readonly period: string;
  readonly startsAt: Date;
  readonly endsAt: Date;
  readonly spent: bigint;
  readonly held: bigint;
}

export interface RecordRow {
  readonly requestId: string;
  readonly sub: string;
  readonly model: string;
  readonly outcome: 'complete' | 'partial' | 'abandoned';
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite5m: number;
  readonly cacheWrite1h: number;
  readonly webSearches: number;
  readonly cost: bigint;
  /** What the client was sent; 0 where another attempt was to follow. */
  readonly status: number;
  readonly admittedAt: Date;
}

/** What the trigger writes down of every write that should not have been. */
const SETUP = `
  CREATE SCHEMA observer;
  CREATE TABLE observer.caps (
    subject_kind text, subject text, unit text, period text, amount bigint,
    PRIMARY KEY (subject_kind, subject, unit, period));
  CREATE TABLE observer.violations (
    at timestamptz DEFAULT clock_timestamp(), what text, subject_kind text, subject text, unit text, period text,
    spent bigint, held bigint, cap bigint);
  CREATE SEQUENCE observer.written;
  CREATE FUNCTION observer.look() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE allowed bigint;
  BEGIN
    PERFORM nextval('observer.written');
    SELECT amount INTO allowed FROM observer.caps c
     WHERE c.subject_kind = NEW.subject_kind AND c.subject = NEW.subject
       AND c.unit = NEW.unit::text AND c.period = NEW.period::text;
    IF NEW.spent < 0 OR NEW.held < 0 OR NEW.spent + NEW.held > allowed THEN
      INSERT INTO observer.violations (what, subject_kind, subject, unit, period, spent, held, cap)
      VALUES (CASE WHEN NEW.spent < 0 OR NEW.held < 0 THEN 'negative' ELSE 'above the cap' END,
              NEW.subject_kind, NEW.subject, NEW.unit::text, NEW.period::text, NEW.spent, NEW.held, allowed);
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER observer AFTER INSERT OR UPDATE ON claude_gateway.budget_windows
    FOR EACH ROW EXECUTE FUNCTION observer.look();`;

const WINDOWS = `
  SELECT id, subject_kind, subject, unit::text, period::text, starts_at, ends_at, spent, held
    FROM claude_gateway.budget_windows ORDER BY id`;

/** The sum of the usage records that a window covers, beside what the window says. */
const SUMS = `
  SELECT w.id, coalesce(sum(
      CASE w.unit::text
        WHEN 'nano_usd' THEN r.cost_nano_usd
        ELSE r.input_tokens + r.output_tokens + r.cache_write_5m_tokens + r.cache_write_1h_tokens
             + CASE w.unit::text WHEN 'tokens_with_cache_reads' THEN r.cache_read_tokens ELSE 0 END
      END), 0) AS total
    FROM claude_gateway.budget_windows w
    LEFT JOIN claude_gateway.usage_records r
      ON r.admitted_at >= w.starts_at AND r.admitted_at < w.ends_at
     AND CASE w.subject_kind
           WHEN 'user' THEN r.sub = w.subject
           WHEN 'group_pool' THEN w.subject = ANY (r.groups)
           ELSE true
         END
   GROUP BY w.id`;

const RECORDS = `
  SELECT request_id, sub, model, outcome, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
         cache_write_1h_tokens, web_searches, cost_nano_usd, status, admitted_at
    FROM claude_gateway.usage_records`;

/**
 * Looks at the ledger's tables from outside, and on every write to them. Asks afresh each time, since PostgreSQL is
 * restarted under it.
 */
export class LedgerObserver {
  readonly #url: string;

  constructor(databaseUrl: string) {
    this.#url = databaseUrl;
  }

  /** Puts the trigger in place. `budgets` must cover every window; more than one of the same name must be equal. */
  async install(budgets: Iterable<Budget>): Promise<void> {
    await this.query(SETUP);
    await this.expect(budgets);
  }

  /** Other caps from now on. Say it before they are raised. */
  async expect(budgets: Iterable<Budget>): Promise<void> {
    const unique = new Map(
      [...budgets].map((b) => [`${b.subjectKind} ${b.subject} ${b.unit} ${b.period}`, b] as const),
    );
    const rows = [...unique.values()].map(({ amount, ...rest }) => ({ ...rest, amount: amount.toString() }));
    await this.query(
      `INSERT INTO observer.caps
         SELECT "subjectKind", subject, unit, period, amount
           FROM jsonb_to_recordset($1::jsonb)
             AS caps("subjectKind" text, subject text, unit text, period text, amount bigint)
       ON CONFLICT (subject_kind, subject, unit, period) DO UPDATE SET amount = excluded.amount`,
      [JSON.stringify(rows)],
    );
  }

  /** Writes to windows that broke a cap or went below zero, in words. */
  async violations(): Promise<string[]> {
    const rows = await this.query(`
      SELECT format('%s: %s %s %s %s: spent %s + held %s, cap %s', what, subject_kind, subject, period, unit, spent,
                    held, cap) AS words
        FROM observer.violations ORDER BY at LIMIT 20`);
    return rows.map((row) => String(row['words']));
  }

  /** How many writes to windows the trigger has seen. */
  async writes(): Promise<number> {
    const [row] = await this.query('SELECT last_value, is_called FROM observer.written');
    return row?.['is_called'] === true ? Number(row['last_value']) : 0;
  }

  async windows(): Promise<WindowRow[]> {
    return (await this.query(WINDOWS)).map((row) => ({
      id: row['id'] as string,
      subjectKind: row['subject_kind'] as Budget['subjectKind'],
      subject: row['subject'] as string,
      unit: row['unit'] as string,
      period: row['period'] as string,
      startsAt: row['starts_at'] as Date,
      endsAt: row['ends_at'] as Date,
      spent: BigInt(row['spent'] as string),
      held: BigInt(row['held'] as string),
    }));
  }

  /** By window id. */
  async sumsOfRecords(): Promise<Map<string, bigint>> {
    return new Map(
      (await this.query(SUMS)).map((row) => [row['id'] as string, BigInt(row['total'] as string)]),
    );
  }

  async records(): Promise<RecordRow[]> {
    return (await this.query(RECORDS)).map((row) => ({
      requestId: row['request_id'] as string,
      sub: row['sub'] as string,
      model: row['model'] as string,
      outcome: row['outcome'] as RecordRow['outcome'],
      input: Number(row['input_tokens']),
      output: Number(row['output_tokens']),
      cacheRead: Number(row['cache_read_tokens']),
      cacheWrite5m: Number(row['cache_write_5m_tokens']),
      cacheWrite1h: Number(row['cache_write_1h_tokens']),
      webSearches: Number(row['web_searches']),
      cost: BigInt(row['cost_nano_usd'] as string),
      status: Number(row['status']),
      admittedAt: row['admitted_at'] as Date,
    }));
  }

  /**
   * Waits until nothing is held any more and nothing is under way.
   *
   * @returns what is still held after that time, in words; empty when all is quiet.
   */
  async untilQuiet(timeoutMs: number): Promise<string[]> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const rows = await this.query(`
        SELECT 'held ' || held || ' of ' || subject_kind || ' ' || subject || ' ' || period || ' ' || unit AS what
          FROM claude_gateway.budget_windows WHERE held <> 0
        UNION ALL
        SELECT 'lease of ' || amount || ' for replica ' || replica_id FROM claude_gateway.budget_leases
         WHERE amount <> 0
        UNION ALL
        SELECT 'in flight: ' || id FROM claude_gateway.in_flight_requests`);
      if (rows.length === 0) return [];
      if (performance.now() > deadline) return rows.map((row) => String(row['what']));
      await sleep(250);
    }
  }

  async query(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.#url });
    // The server may go away under an idle connection; the next query says so.
    client.on('error', () => undefined);
    await client.connect();
    try {
      const result = (await client.query(text, values)) as unknown as { rows?: Record<string, unknown>[] };
      return result.rows ?? [];
    } finally {
      await client.end();
    }
  }
}

/** What the records do not say of the windows, and the windows not of the records. Empty when they agree exactly. */
export async function disagreements(observer: LedgerObserver): Promise<string[]> {
  const [windows, sums] = [await observer.windows(), await observer.sumsOfRecords()];
  return windows.flatMap((window) => {
    const sum = sums.get(window.id) ?? 0n;
    const name = `${window.subjectKind} ${window.subject} ${window.period} ${window.unit}`;
    return [
      ...(window.spent === sum ? [] : [`${name}: spent ${window.spent}, but its records add up to ${sum}`]),
      ...(window.held === 0n ? [] : [`${name}: ${window.held} still held`]),
    ];
  });
}
