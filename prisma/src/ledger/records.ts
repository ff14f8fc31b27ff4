import { storable, storableKey } from '../storable.ts';
import { clampRecord } from './amounts.ts';
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

/** A record as JSON that PostgreSQL can store, whatever it says. Money is a string there: JSON's numbers are not exact. */
export function recordJson(given: UsageRecord): Record<Column, unknown> {
  const record = clampRecord(given);
  return {
    id: record.id,
    request_id: storable(record.requestId),
    sub: storableKey(record.sub),
    kind: record.kind,
    groups: record.groups.map(storableKey),
    model: storableKey(record.model),
    upstream: record.upstream === null ? null : storableKey(record.upstream),
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

/** The whole hour, in UTC, that a moment is in; PostgreSQL names the zone to `date_trunc` itself only since 12. */
export const hourOf = (time: string): string =>
  `(date_trunc('hour', ${time} AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')`;
