import type { UsageDimension, UsageReportRow } from '@claude-gateway/prisma';

const NANO_USD_DIGITS = 9;

/** US dollars as a decimal string, exact, with at least the cents: `12.50`, `0.000000007`. */
export function usd(nanoUsd: bigint): string {
  const digits = (nanoUsd < 0n ? -nanoUsd : nanoUsd).toString().padStart(NANO_USD_DIGITS + 1, '0');
  const fraction = digits.slice(-NANO_USD_DIGITS).replace(/0{1,7}$/, '');
  return `${nanoUsd < 0n ? '-' : ''}${digits.slice(0, -NANO_USD_DIGITS)}.${fraction}`;
}

/** As the answer has it; sums beyond 2^53 tokens would lose digits, which no organization reaches. */
export function resultOf(row: UsageReportRow): Record<string, unknown> {
  return {
    user_id: row.user?.sub ?? null,
    user_email: row.user?.email ?? null,
    user_name: row.user?.name ?? null,
    user_kind: row.user?.kind ?? null,
    group: row.group,
    model: row.model,
    upstream: row.upstream,
    requests: Number(row.requests),
    uncached_input_tokens: Number(row.inputTokens),
    cache_creation: {
      ephemeral_5m_input_tokens: Number(row.cacheWrite5mTokens),
      ephemeral_1h_input_tokens: Number(row.cacheWrite1hTokens),
    },
    cache_read_input_tokens: Number(row.cacheReadTokens),
    output_tokens: Number(row.outputTokens),
    server_tool_use: { web_search_requests: Number(row.webSearches) },
    cost_usd: usd(row.costNanoUsd),
    cost_nano_usd: row.costNanoUsd.toString(),
  };
}

/** Columns of one dimension. */
const NAMED: Readonly<Record<UsageDimension, readonly string[]>> = {
  user: ['user_id', 'user_email', 'user_name', 'user_kind'],
  group: ['group'],
  model: ['model'],
  upstream: ['upstream'],
};

const COUNTED = [
  'requests',
  'uncached_input_tokens',
  'cache_creation_5m_input_tokens',
  'cache_creation_1h_input_tokens',
  'cache_read_input_tokens',
  'output_tokens',
  'web_search_requests',
  'cost_usd',
  'cost_nano_usd',
];

export function csvColumns(groupBy: readonly UsageDimension[]): string[] {
  return ['starting_at', 'ending_at', ...groupBy.flatMap((dimension) => NAMED[dimension]), ...COUNTED];
}

/** One line of the CSV, in the order of {@link csvColumns}. */
export function csvRecord(
  row: UsageReportRow,
  groupBy: readonly UsageDimension[],
  [startingAt, endingAt]: readonly [string, string],
): (string | bigint)[] {
  const named = groupBy.flatMap((dimension) =>
    dimension === 'user'
      ? [row.user?.sub, row.user?.email, row.user?.name, row.user?.kind]
      : [row[dimension]],
  );
  return [
    startingAt,
    endingAt,
    ...named.map((name) => plain(name ?? '')),
    row.requests,
    row.inputTokens,
    row.cacheWrite5mTokens,
    row.cacheWrite1hTokens,
    row.cacheReadTokens,
    row.outputTokens,
    row.webSearches,
    usd(row.costNanoUsd),
    row.costNanoUsd,
  ];
}

/** Names come from identity providers and clients: a line break could begin a formula of its own. */
function plain(name: string): string {
  return name.replace(/[\u0000-\u001f\u007f]+/g, ' ');
}
