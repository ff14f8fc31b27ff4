import { randomUUID } from 'node:crypto';
import type { BudgetSubject, LedgerStore, Settlement, UsageRecord, WindowSpec } from '../ledger/types.ts';
import { at, NOW } from './postgres.ts';

const DAY_MS = 86_400_000;

/** The day of NOW, in UTC. */
export function newWindow(subject: BudgetSubject, overrides: Partial<WindowSpec> = {}): WindowSpec {
  const startsAt = new Date(Math.floor(NOW.getTime() / DAY_MS) * DAY_MS);
  return {
    id: randomUUID(),
    subject,
    unit: 'nano_usd',
    period: 'daily',
    timeZone: 'UTC',
    startsAt,
    endsAt: new Date(startsAt.getTime() + DAY_MS),
    ...overrides,
  };
}

export function newUsage(overrides: Partial<UsageRecord> = {}): UsageRecord {
  const id = randomUUID();
  return {
    id,
    requestId: `req_${id}`,
    sub: 'ada',
    kind: 'user',
    email: null,
    name: null,
    groups: [],
    model: 'claude-opus-4-8',
    upstream: 'anthropic',
    fastMode: false,
    inputTokens: 1,
    outputTokens: 20,
    cacheReadTokens: 300,
    cacheWrite5mTokens: 4_000,
    cacheWrite1hTokens: 50_000,
    webSearches: 0,
    costNanoUsd: 10n,
    outcome: 'complete',
    status: 200,
    admittedAt: at(0),
    firstByteMs: 1,
    durationMs: 2,
    ...overrides,
  };
}

/** A record of this cost (tokens are fixed), and the windows that it was held in. */
export function newSettlement(
  windows: readonly WindowSpec[],
  overrides: Partial<UsageRecord> = {},
): Settlement {
  return { record: newUsage(overrides), windowIds: windows.map(({ id }) => id) };
}

/** On the list of replicas. @returns its id. */
export async function newReplica(ledger: LedgerStore, ttlMs = 60_000): Promise<string> {
  const replicaId = randomUUID();
  await ledger.heartbeat({ replicaId, name: 'pod', policyRevision: 1n, ttlMs, inFlight: [] });
  return replicaId;
}
