import type { TokenUsage } from '@claude-gateway/prisma';

/** More than any answer has; what is beyond it is taken for it, so that every amount fits its column. */
const MAX_TOKENS = 1_000_000_000;
const MAX_WEB_SEARCHES = 1_000_000;

/** What one usage object of the Messages API counts; undefined where it says nothing that is a count. */
export interface Counts {
  readonly input: number | undefined;
  readonly output: number | undefined;
  readonly cacheRead: number | undefined;
  /** All cache writes, by whatever name they came. */
  readonly cacheWrites: number;
  readonly cacheWrite5m: number;
  readonly cacheWrite1h: number;
  readonly webSearches: number;
}

export const NO_COUNTS: Counts = {
  input: undefined,
  output: undefined,
  cacheRead: undefined,
  cacheWrites: 0,
  cacheWrite5m: 0,
  cacheWrite1h: 0,
  webSearches: 0,
};

/** The counts at the top of a usage object, without its `iterations`. */
export function countsOf(usage: Readonly<Record<string, unknown>>): Counts {
  const breakdown = usage['cache_creation'];
  const writes = isRecord(breakdown) ? breakdown : {};
  const tools = usage['server_tool_use'];
  const searches = isRecord(tools) ? countOf(tools['web_search_requests']) : undefined;
  const cacheWrite5m = countOf(writes['ephemeral_5m_input_tokens']) ?? 0;
  const cacheWrite1h = countOf(writes['ephemeral_1h_input_tokens']) ?? 0;
  return {
    input: countOf(usage['input_tokens']),
    output: countOf(usage['output_tokens']),
    cacheRead: countOf(usage['cache_read_input_tokens']),
    cacheWrites: Math.max(countOf(usage['cache_creation_input_tokens']) ?? 0, cacheWrite5m + cacheWrite1h),
    cacheWrite5m,
    cacheWrite1h,
    webSearches: Math.min(searches ?? 0, MAX_WEB_SEARCHES),
  };
}

/** Of each kind what `merge` makes of both; what only one of them says is that. */
export function combine(a: Counts, b: Counts, merge: (a: number, b: number) => number): Counts {
  const optional = (x: number | undefined, y: number | undefined): number | undefined =>
    x === undefined ? y : y === undefined ? x : merge(x, y);
  return {
    input: optional(a.input, b.input),
    output: optional(a.output, b.output),
    cacheRead: optional(a.cacheRead, b.cacheRead),
    cacheWrites: merge(a.cacheWrites, b.cacheWrites),
    cacheWrite5m: merge(a.cacheWrite5m, b.cacheWrite5m),
    cacheWrite1h: merge(a.cacheWrite1h, b.cacheWrite1h),
    webSearches: merge(a.webSearches, b.webSearches),
  };
}

/** Writes without a lifetime are taken for short ones. */
export function usageOf(counts: Counts): TokenUsage {
  const cacheWrite1hTokens = bounded(counts.cacheWrite1h);
  return {
    inputTokens: bounded(counts.input ?? 0),
    outputTokens: bounded(counts.output ?? 0),
    cacheReadTokens: bounded(counts.cacheRead ?? 0),
    cacheWrite5mTokens: bounded(Math.max(counts.cacheWrite5m, counts.cacheWrites - cacheWrite1hTokens)),
    cacheWrite1hTokens,
    webSearches: Math.min(counts.webSearches, MAX_WEB_SEARCHES),
  };
}

function bounded(tokens: number): number {
  return Math.min(tokens, MAX_TOKENS);
}

/** @returns undefined for whatever is no count: absent, null, negative, a text, a fraction. */
function countOf(value: unknown): number | undefined {
  if (typeof value !== 'number' || !(value >= 0)) return undefined;
  if (value > MAX_TOKENS) return MAX_TOKENS;
  return Number.isInteger(value) ? value : undefined;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
