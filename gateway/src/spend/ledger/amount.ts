import type { BudgetUnit, TokenUsage } from '@claude-gateway/prisma';

/** What a request takes out of a budget, in the budget's unit. The store counts alike. */
export function amountOf(record: TokenUsage & { readonly costNanoUsd: bigint }, unit: BudgetUnit): bigint {
  switch (unit) {
    case 'nano_usd':
      return record.costNanoUsd;
    case 'tokens':
      return BigInt(freshTokens(record));
    case 'tokens_with_cache_reads':
      return BigInt(freshTokens(record) + record.cacheReadTokens);
  }
}

function freshTokens(usage: TokenUsage): number {
  return usage.inputTokens + usage.outputTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens;
}
