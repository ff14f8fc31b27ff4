import { storable } from '../storable.ts';
import type { UsageRecord } from './types.ts';

/** Columns of usage_records that a record has, in order, with their types. The rest has defaults. */
const COLUMNS = {
  id: 'uuid',
  request_id: 'text',
  sub: 'text',
  kind: 'text',
  groups: 'text[]',
  model: 'text',
  upstream: 'text',
  fast_mode: 'boolean',
  input_tokens: 'bigint',
  output_tokens: 'bigint',
  cache_read_tokens: 'bigint',
  cache_write_5m_tokens: 'bigint',
  cache_write_1h_tokens: 'bigint',
  web_searches: 'integer',
  cost_nano_usd: 'bigint',
  outcome: 'text',
  status: 'integer',
  admitted_at: 'timestamptz',
  first_byte_ms: 'integer',
  duration_ms: 'integer',
} as const;

type Column = keyof typeof COLUMNS;

export const RECORD_COLUMNS = Object.keys(COLUMNS) as readonly Column[];

/** For `json_to_recordset` and its like: what {@link recordJson} makes. */
export const RECORD_FIELDS = Object.entries(COLUMNS)
  .map(([column, type]) => `${column} ${type}`)
  .join(', ');

/** What the row `r` takes out of a budget of each unit. */
export const FRESH_TOKENS = (r: string): string =>
  `${r}.input_tokens + ${r}.output_tokens + ${r}.cache_write_5m_tokens + ${r}.cache_write_1h_tokens`;
export const ALL_TOKENS = (r: string): string => `${FRESH_TOKENS(r)} + ${r}.cache_read_tokens`;

/** What the row `r` takes out of a budget of the unit `unit`. */
export const amountOf = (r: string, unit: string): string =>
  `CASE ${unit} WHEN 'nano_usd' THEN ${r}.cost_nano_usd WHEN 'tokens' THEN ${FRESH_TOKENS(r)} ELSE ${ALL_TOKENS(r)} END`;

/**
 * Of one kind in one request. No model reads or writes as many; an upstream that says so has miscounted, and is taken at this
 * word, so that its record is kept and budgets can add up millions of the like without leaving a bigint.
 */
export const MAX_TOKENS = 10_000_000_000;
/** A hundred thousand dollars for one request, for the same reason. */
export const MAX_COST_NANO_USD = 100_000n * 1_000_000_000n;
/** Of PostgreSQL's integer. */
const MAX_INTEGER = 2 ** 31 - 1;

/** A whole number from 0 to `max`, whatever somebody made of it. */
function count(value: number, max: number): number {
  return value >= max ? max : value > 0 ? Math.round(value) : 0;
}

function cost(value: bigint): bigint {
  return value > MAX_COST_NANO_USD ? MAX_COST_NANO_USD : value > 0n ? value : 0n;
}

/** The record as it can be stored, and as the ledger counts it: numbers within the range of their columns. */
export function clampRecord(record: UsageRecord): UsageRecord {
  const { firstByteMs } = record;
  return {
    ...record,
    inputTokens: count(record.inputTokens, MAX_TOKENS),
    outputTokens: count(record.outputTokens, MAX_TOKENS),
    cacheReadTokens: count(record.cacheReadTokens, MAX_TOKENS),
    cacheWrite5mTokens: count(record.cacheWrite5mTokens, MAX_TOKENS),
    cacheWrite1hTokens: count(record.cacheWrite1hTokens, MAX_TOKENS),
    webSearches: count(record.webSearches, MAX_INTEGER),
    costNanoUsd: cost(record.costNanoUsd),
    status: count(record.status, MAX_INTEGER),
    firstByteMs: firstByteMs === null ? null : count(firstByteMs, MAX_INTEGER),
    durationMs: count(record.durationMs, MAX_INTEGER),
  };
}

/** A record as JSON for PostgreSQL. Money is a string there: JSON's numbers are not exact. */
export function recordJson(unclamped: UsageRecord): Record<Column, unknown> {
  const record = clampRecord(unclamped);
  return {
    id: record.id,
    request_id: storable(record.requestId),
    sub: storable(record.sub),
    kind: record.kind,
    groups: record.groups.map(storable),
    model: storable(record.model),
    upstream: record.upstream === null ? null : storable(record.upstream),
    fast_mode: record.fastMode,
    input_tokens: record.inputTokens,
    output_tokens: record.outputTokens,
    cache_read_tokens: record.cacheReadTokens,
    cache_write_5m_tokens: record.cacheWrite5mTokens,
    cache_write_1h_tokens: record.cacheWrite1hTokens,
    web_searches: record.webSearches,
    cost_nano_usd: String(record.costNanoUsd),
    outcome: record.outcome,
    status: record.status,
    admitted_at: record.admittedAt,
    first_byte_ms: record.firstByteMs,
    duration_ms: record.durationMs,
  };
}
