import { randomUUID } from 'node:crypto';
import { at } from './postgres.ts';

/** A usage record as settling writes it; whatever a test does not care about is something. */
export interface RecordValues {
  readonly id: string;
  readonly sub: string;
  readonly kind: 'user' | 'workload';
  readonly groups: readonly string[];
  readonly model: string;
  readonly upstream: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWrite5mTokens: number;
  readonly cacheWrite1hTokens: number;
  readonly webSearches: number;
  readonly costNanoUsd: bigint;
  readonly outcome: 'complete' | 'partial' | 'abandoned';
  readonly admittedAt: Date;
}

export function newRecord(overrides: Partial<RecordValues> = {}): RecordValues {
  return {
    id: randomUUID(),
    sub: 'ada',
    kind: 'user',
    groups: ['eng'],
    model: 'claude-sonnet-5',
    upstream: 'anthropic',
    inputTokens: 3,
    outputTokens: 5,
    cacheReadTokens: 7,
    cacheWrite5mTokens: 11,
    cacheWrite1hTokens: 13,
    webSearches: 1,
    costNanoUsd: 1_000_000_007n,
    outcome: 'complete',
    admittedAt: at(0),
    ...overrides,
  };
}

/** Parameters: an array of what {@link recordParameter} makes. `settled_at` is the database's, as in settling. */
export const INSERT_RECORDS = `
  INSERT INTO claude_gateway.usage_records
         (id, request_id, sub, kind, groups, model, upstream, fast_mode, input_tokens, output_tokens, cache_read_tokens,
          cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano_usd, outcome, status, admitted_at,
          first_byte_ms, duration_ms)
  SELECT id, 'req_' || id, sub, kind, groups, model, upstream, false, "inputTokens", "outputTokens", "cacheReadTokens",
         "cacheWrite5mTokens", "cacheWrite1hTokens", "webSearches", "costNanoUsd", outcome, 200, "admittedAt", 1, 2
    FROM jsonb_to_recordset($1::jsonb) AS r (id uuid, sub text, kind text, groups text[], model text, upstream text,
         "inputTokens" bigint, "outputTokens" bigint, "cacheReadTokens" bigint, "cacheWrite5mTokens" bigint,
         "cacheWrite1hTokens" bigint, "webSearches" int, "costNanoUsd" bigint, outcome text, "admittedAt" timestamptz)
  ON CONFLICT (id) DO UPDATE SET cost_nano_usd = excluded.cost_nano_usd, output_tokens = excluded.output_tokens,
         outcome = excluded.outcome, settled_at = clock_timestamp()
   WHERE usage_records.outcome = 'abandoned'`;

export function recordParameter(records: readonly RecordValues[]): string {
  return JSON.stringify(records, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}
