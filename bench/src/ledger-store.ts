/**
 * What the ledger's statements cost on a PostgreSQL that writes durably: settling in batches, and leasing, on one window
 * that everybody pays from and on windows of 10,000 users. The best of several runs of some seconds.
 *
 *   npm run bench:ledger-store -w @claude-gateway/bench
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '@claude-gateway/dev';
import { openStore, type LedgerStore, type Settlement, type WindowSpec } from '@claude-gateway/prisma';
import pg from 'pg';
import { cpuSeconds } from './process-stats.ts';

const USERS = 10_000;
const BATCHES = [1, 50, 500];
const CALLERS = [1, 4];
const RUN_MS = 1_500;
const RUNS = 3;
const DAY_MS = 86_400_000;
const GROUPS = ['engineering', 'platform', 'berlin', 'all-staff', 'claude-users'];

function windowOf(subject: WindowSpec['subject'], period: WindowSpec['period']): WindowSpec {
  const startsAt = new Date(Math.floor(Date.now() / DAY_MS) * DAY_MS);
  const endsAt = new Date(startsAt.getTime() + (period === 'daily' ? 1 : 28) * DAY_MS);
  return { id: randomUUID(), subject, unit: 'nano_usd', period, timeZone: 'UTC', startsAt, endsAt };
}

function settlement(sub: string, windows: readonly WindowSpec[]): Settlement {
  const id = randomUUID();
  return {
    record: {
      id,
      requestId: `req_${id}`,
      sub,
      kind: 'user',
      email: null,
      name: null,
      groups: GROUPS,
      model: 'claude-opus-4-8',
      upstream: 'anthropic',
      fastMode: false,
      inputTokens: 3,
      outputTokens: 500,
      cacheReadTokens: 40_000,
      cacheWrite5mTokens: 900,
      cacheWrite1hTokens: 0,
      webSearches: 0,
      costNanoUsd: 38_000_000n,
      outcome: 'complete',
      status: 200,
      admittedAt: new Date(),
      firstByteMs: 900,
      durationMs: 9_000,
    },
    windowIds: windows.map(({ id }) => id),
  };
}

interface Setting {
  readonly name: string;
  readonly users: readonly { readonly sub: string; readonly windows: readonly WindowSpec[] }[];
}

interface Cost {
  readonly callsPerSecond: number;
  /** CPU time of PostgreSQL's processes that served them, and of this one, in µs for each call. */
  readonly serverMicros: number;
  readonly clientMicros: number;
}

/** @returns what a call costs in the best run. */
async function rate(callers: number, call: (caller: number) => Promise<unknown>): Promise<Cost> {
  let best: Cost = { callsPerSecond: 0, serverMicros: Infinity, clientMicros: Infinity };
  for (let run = 0; run <= RUNS; run++) {
    let calls = 0;
    const server = await serverSeconds();
    const client = process.cpuUsage();
    const from = performance.now();
    await Promise.all(
      Array.from({ length: callers }, async (_, caller) => {
        while (performance.now() - from < RUN_MS / (run === 0 ? 4 : 1)) {
          await call(caller);
          calls++;
        }
      }),
    );
    // The first one warms up.
    if (run === 0) continue;
    const callsPerSecond = calls / ((performance.now() - from) / 1000);
    const { user, system } = process.cpuUsage(client);
    best = {
      callsPerSecond: Math.max(best.callsPerSecond, callsPerSecond),
      serverMicros: Math.min(best.serverMicros, (((await serverSeconds()) - server) * 1e6) / calls),
      clientMicros: Math.min(best.clientMicros, (user + system) / calls),
    };
  }
  return best;
}

async function serverSeconds(): Promise<number> {
  const { rows } = await observer.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  return rows.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
}

async function measure(ledger: LedgerStore, { name, users }: Setting): Promise<void> {
  const replicas = await Promise.all(
    Array.from({ length: Math.max(...CALLERS) }, async () => {
      const replicaId = randomUUID();
      const beat = { replicaId, name: 'bench', policyRevision: 1n, ttlMs: 3_600_000, inFlight: [] };
      await ledger.heartbeat(beat);
      return replicaId;
    }),
  );
  let next = 0;
  const take = (count: number) => Array.from({ length: count }, () => users[next++ % users.length]!);
  for (const callers of CALLERS) {
    for (const size of BATCHES) {
      const calls = await rate(callers, (caller) =>
        ledger.settle(replicas[caller]!, {
          settlements: take(size).map(({ sub, windows }) => settlement(sub, windows)),
          returns: [],
        }),
      );
      report(name, `settle ${size}`, callers, calls, size);
    }
    // A lease, and a settlement that uses it up: rows come and go.
    const both = await rate(callers, async (caller) => {
      const [{ sub, windows } = users[0]!] = take(1);
      const asks = windows.map(({ id }) => ({ windowId: id, cap: 10n ** 18n, need: 38_000_000n, extra: 0n }));
      await ledger.lease(replicas[caller]!, asks);
      await ledger.settle(replicas[caller]!, { settlements: [settlement(sub, windows)], returns: [] });
    });
    report(name, 'lease, settle 1', callers, both, 1);
    const leases = await rate(callers, (caller) => {
      const [{ windows } = users[0]!] = take(1);
      const asks = windows.map(({ id }) => ({ windowId: id, cap: 10n ** 18n, need: 1_000_000n, extra: 0n }));
      return ledger.lease(replicas[caller]!, asks);
    });
    report(name, 'lease', callers, leases, 1);
    const reads = await rate(callers, (caller) => {
      const [{ windows } = users[0]!] = take(1);
      const asks = windows.map(({ id }) => ({ windowId: id, cap: 10n ** 18n, need: 0n, extra: 0n }));
      return ledger.lease(replicas[caller]!, asks);
    });
    report(name, 'look up', callers, reads, 1);
  }
  for (const replica of replicas) await ledger.leave(replica);
}

function report(setting: string, call: string, callers: number, cost: Cost, size: number): void {
  const { callsPerSecond, serverMicros, clientMicros } = cost;
  const numbers = [callsPerSecond, callsPerSecond * size, serverMicros / size, clientMicros / size];
  console.log(`| ${setting} | ${call} | ${callers} | ${numbers.map((n) => n.toFixed(0)).join(' | ')} |`);
}

const dataDir = await mkdtemp(join(tmpdir(), 'ledger-bench-'));
let observer = new pg.Client();
const postgres = await startPostgres({ dataDir, settings: { shared_buffers: '256MB' } });
try {
  const url = await postgres.createDatabase();
  observer = new pg.Client({ connectionString: url });
  const store = await openStore({
    url,
    maxConnections: 9,
    connectTimeoutSeconds: 10,
    revocationTtlSeconds: 3600,
  });
  const { ledger } = store;
  await observer.connect();
  console.log(
    '| windows | call | callers | calls/s | records/s | PostgreSQL µs/record | our µs/record |\n|---|---|---:|---:|---:|---:|---:|',
  );
  const organization = windowOf({ kind: 'organization_pool' }, 'monthly');
  await ledger.openWindows([organization]);
  const subs = Array.from({ length: USERS }, (_, i) => `auth0|${i}`);
  await measure(ledger, {
    name: 'one',
    users: subs.map((sub) => ({ sub, windows: [organization] })),
  });
  const users = subs.map((sub) => {
    const subject = { kind: 'user', sub } as const;
    return { sub, windows: [windowOf(subject, 'daily'), windowOf(subject, 'monthly')] };
  });
  const from = performance.now();
  for (let i = 0; i < users.length; i += 100) {
    await ledger.openWindows(users.slice(i, i + 100).flatMap(({ windows }) => windows));
  }
  console.error(`opening 20,000 windows: ${(performance.now() - from).toFixed(0)} ms`);
  await measure(ledger, { name: '2 of each user', users });
  const all = users.map(({ sub, windows }) => ({ sub, windows: [...windows, organization] }));
  await measure(ledger, { name: '2 of each user, and one', users: all });
  await observer.end();
  await store.close();
} finally {
  await postgres.stop();
  await rm(dataDir, { recursive: true, force: true });
}
