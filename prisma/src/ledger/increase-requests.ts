import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import type {
  IncreaseRequest,
  IncreaseRequestStatus,
  IncreaseRequestStore,
  IncreaseResolution,
  Resolution,
} from './increase-request-types.ts';
import type { LimitContent, LimitWrite } from './limit-types.ts';
import { sequenceOf } from './sequence.ts';
import type { BudgetPeriod } from './types.ts';

const COLUMNS = `id, sequence::text, sub, period::text, current_amount::text, requested_amount::text, reason, status,
  created_at, resolved_at, resolved_by, resolution_note, approved_amount::text`;

/** One at a time for each person: the lock goes with the transaction. */
const LOCK_PERSON = `SELECT pg_advisory_xact_lock(hashtextextended($1, 7210))`;

const PENDING = `
  SELECT ${COLUMNS} FROM ${SCHEMA}.limit_increase_requests
   WHERE sub = $1 AND period = $2::${SCHEMA}.budget_period AND status = 'pending'`;

const CREATE = `
  INSERT INTO ${SCHEMA}.limit_increase_requests
    (id, sub, period, current_amount, requested_amount, reason, status, created_at)
  VALUES ($1, $2, $3::${SCHEMA}.budget_period, $4, $5, $6, 'pending', $7)
  RETURNING ${COLUMNS}`;

const GET = `SELECT ${COLUMNS} FROM ${SCHEMA}.limit_increase_requests WHERE id = $1`;

const LIST = `
  SELECT ${COLUMNS} FROM ${SCHEMA}.limit_increase_requests
   WHERE ($2::bigint IS NULL OR sequence < $2) AND ($3::text[] IS NULL OR sub = ANY ($3))
     AND ($4::text[] IS NULL OR status = ANY ($4))
   ORDER BY sequence DESC LIMIT $1`;

const RESOLVE = `
  UPDATE ${SCHEMA}.limit_increase_requests
     SET status = $2, resolved_at = $3, resolved_by = $4, resolution_note = $5, approved_amount = $6
   WHERE id = $1
  RETURNING ${COLUMNS}`;

interface Row {
  readonly id: string;
  readonly sequence: string;
  readonly sub: string;
  readonly period: BudgetPeriod;
  readonly current_amount: string | null;
  readonly requested_amount: string | null;
  readonly reason: string | null;
  readonly status: IncreaseRequestStatus;
  readonly created_at: Date;
  readonly resolved_at: Date | null;
  readonly resolved_by: string | null;
  readonly resolution_note: string | null;
  readonly approved_amount: string | null;
}

/** Writes a limit inside somebody else's transaction, as `LimitStore.put` does in its own. */
export interface LimitWriter {
  putWithin(
    client: pg.PoolClient,
    content: LimitContent,
    change: { readonly actor: string; readonly reason: string | null; readonly now: Date },
  ): Promise<LimitWrite>;
}

export class PostgresIncreaseRequestStore implements IncreaseRequestStore {
  readonly #database: Database;
  readonly #limits: LimitWriter;

  constructor(database: Database, limits: LimitWriter) {
    this.#database = database;
    this.#limits = limits;
  }

  create(request: Parameters<IncreaseRequestStore['create']>[0]): ReturnType<IncreaseRequestStore['create']> {
    const { sub, period, currentAmount, requestedAmount, reason, actor, now } = request;
    return this.#database.transaction(async (client) => {
      await client.query(LOCK_PERSON, [sub]);
      const pending = (await client.query<Row>(PENDING, [sub, period])).rows[0];
      if (pending !== undefined) return { state: 'pending', request: requestOf(pending) };
      const id = `slir_${randomUUID().replaceAll('-', '')}`;
      const values = [
        id,
        sub,
        period,
        currentAmount?.toString() ?? null,
        requestedAmount?.toString() ?? null,
        reason,
        now,
      ];
      const created = only(await client.query<Row>(CREATE, values));
      await writeTrail(client, { actor, action: 'create', before: null, after: created, reason, now });
      return { state: 'created', request: created };
    });
  }

  async get(id: string): Promise<IncreaseRequest | null> {
    const [row] = await this.#database.query<Row>(GET, [id]);
    return row === undefined ? null : requestOf(row);
  }

  async list(page: Parameters<IncreaseRequestStore['list']>[0]): ReturnType<IncreaseRequestStore['list']> {
    const { limit, after, subs, statuses } = page;
    const values = [
      limit + 1,
      after === undefined ? null : sequenceOf(after).toString(),
      subs ?? null,
      statuses ?? null,
    ];
    const rows = await this.#database.query<Row>(LIST, values);
    const shown = rows.slice(0, limit);
    const next = rows.length > limit ? (shown.at(-1)?.sequence ?? null) : null;
    return { requests: shown.map(requestOf), next };
  }

  approve(
    id: string,
    grant: (request: IncreaseRequest) => LimitContent,
    { actor, note, now }: Resolution,
  ): Promise<IncreaseResolution> {
    return this.#resolve(id, async (client, before) => {
      const content = grant(before);
      const written = await this.#limits.putWithin(client, content, { actor, reason: note, now });
      if (written.state === 'owned') return written;
      if (written.state === 'conflict') throw new Error('a limit without conditions was not written');
      const values = [id, 'approved', now, actor, note, content.amount?.toString() ?? null];
      const request = only(await client.query<Row>(RESOLVE, values));
      await writeTrail(client, { actor, action: 'approve', before, after: request, reason: note, now });
      return { state: 'resolved', request, limit: written.limit };
    });
  }

  deny(id: string, { actor, note, now }: Resolution): Promise<IncreaseResolution> {
    return this.#resolve(id, async (client, before) => {
      const request = only(await client.query<Row>(RESOLVE, [id, 'denied', now, actor, note, null]));
      await writeTrail(client, { actor, action: 'deny', before, after: request, reason: note, now });
      return { state: 'resolved', request, limit: null };
    });
  }

  /** Of two that resolve one request at once, the second waits and finds it resolved. */
  #resolve(
    id: string,
    work: (client: pg.PoolClient, request: IncreaseRequest) => Promise<IncreaseResolution>,
  ): Promise<IncreaseResolution> {
    return this.#database.transaction(async (client) => {
      const row = (await client.query<Row>(`${GET} FOR UPDATE`, [id])).rows[0];
      if (row === undefined) return { state: 'missing' };
      const request = requestOf(row);
      return request.status === 'pending' ? work(client, request) : { state: 'settled', request };
    });
  }
}

const TRAIL = `
  INSERT INTO ${SCHEMA}.admin_audit (recorded_at, actor, action, target_id, before, after, reason)
  VALUES ($1, $2, $3, $4, $5, $6, $7)`;

async function writeTrail(
  client: pg.PoolClient,
  entry: {
    readonly actor: string;
    readonly action: 'create' | 'approve' | 'deny';
    readonly before: IncreaseRequest | null;
    readonly after: IncreaseRequest;
    readonly reason: string | null;
    readonly now: Date;
  },
): Promise<void> {
  const { actor, action, before, after, reason, now } = entry;
  await client.query(TRAIL, [
    now,
    actor,
    `spend_limit_increase_request.${action}`,
    after.id,
    before === null ? null : trailJson(before),
    trailJson(after),
    reason,
  ]);
}

function trailJson(request: IncreaseRequest): string {
  return JSON.stringify(request, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

function only(result: pg.QueryResult<Row>): IncreaseRequest {
  const row = result.rows[0];
  if (row === undefined) throw new Error('a row that was just written is not there');
  return requestOf(row);
}

function requestOf(row: Row): IncreaseRequest {
  return {
    id: row.id,
    sub: row.sub,
    period: row.period,
    currentAmount: amountOf(row.current_amount),
    requestedAmount: amountOf(row.requested_amount),
    reason: row.reason,
    status: row.status,
    createdAt: row.created_at,
    resolvedAt: row.resolved_at,
    resolvedBy: row.resolved_by,
    resolutionNote: row.resolution_note,
    approvedAmount: amountOf(row.approved_amount),
  };
}

function amountOf(text: string | null): bigint | null {
  return text === null ? null : BigInt(text);
}
