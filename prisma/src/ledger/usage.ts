import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { TOUCH, touchParameter } from './principals.ts';
import {
  dividedHours,
  reportRow,
  type ReportRow,
  reportStatement,
  usageBetween,
  UsageTooOldError,
} from './usage-report.ts';
import type { UsageRollup } from './usage-rollup.ts';
import type { PrincipalSighting, UsageReportQuery, UsageReportRow, UsageStore } from './usage-types.ts';

/** A report over a year may take longer than what a request path is given. */
const REPORT_TIMEOUT_MS = 60_000;

const SPENT_SINCE = `
  WITH ${usageBetween('sub = $4')}
  SELECT coalesce(sum(usage.cost_nano_usd), 0)::text AS spent
    FROM unnest($5::timestamptz[]) WITH ORDINALITY s (since, place) LEFT JOIN usage ON usage.at >= s.since
   GROUP BY s.place ORDER BY s.place`;

/** Further than any record: reports end where they are told to. */
const FOREVER = new Date('9999-12-31T00:00:00Z');

/** Shares of the connections, for what somebody waits for a moment, for a minute, or not at all. */
export interface UsageDatabases {
  readonly api: Database;
  readonly reports: Database;
  readonly background: Database;
}

export class PostgresUsageStore implements UsageStore {
  readonly #databases: UsageDatabases;
  readonly #rollup: UsageRollup;

  constructor(databases: UsageDatabases, rollup: UsageRollup) {
    this.#databases = databases;
    this.#rollup = rollup;
  }

  async touch(sightings: readonly PrincipalSighting[]): Promise<void> {
    if (sightings.length > 0) await this.#databases.background.execute(TOUCH, [touchParameter(sightings)]);
  }

  async spendSince(sub: string, sinces: readonly Date[]): Promise<bigint[]> {
    if (sinces.length === 0) return [];
    const first = new Date(Math.min(...sinces.map((since) => since.getTime())));
    const divided = dividedHours(sinces);
    const rows = await this.#databases.api.query<{ spent: string }>(SPENT_SINCE, [
      first,
      FOREVER,
      divided,
      sub,
      sinces,
    ]);
    await this.#refuseTooOld(divided);
    return rows.map(({ spent }) => BigInt(spent));
  }

  async report(query: UsageReportQuery): Promise<readonly UsageReportRow[]> {
    const { boundaries } = query;
    if (boundaries.length < 2 || boundaries.some((at, index) => index > 0 && at <= boundaries[index - 1]!)) {
      throw new RangeError('boundaries must be two or more, ascending');
    }
    const rows = await this.#databases.reports.transaction(async (client) => {
      await client.query(`SET LOCAL statement_timeout = ${REPORT_TIMEOUT_MS}`);
      const statement = { ...reportStatement(query), query_timeout: REPORT_TIMEOUT_MS + 1_000 };
      return (await client.query<ReportRow>(statement)).rows;
    });
    await this.#refuseTooOld(dividedHours(boundaries));
    return rows.map(reportRow);
  }

  rollUp(): Promise<boolean> {
    return this.#rollup.rollUp();
  }

  /** Afterwards: records that are still kept now were kept when they were added up. */
  async #refuseTooOld(divided: readonly Date[]): Promise<void> {
    if (divided.length === 0) return;
    const [mark] = await this.#databases.api.query<{ records_from: Date | null }>(
      `SELECT records_from FROM ${SCHEMA}.usage_rollup WHERE id = 1`,
    );
    const from = mark?.records_from ?? null;
    if (from !== null && divided.some((hour) => hour < from)) throw new UsageTooOldError(from);
  }
}
