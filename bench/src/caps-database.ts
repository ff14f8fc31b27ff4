import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startPostgres, type RunningPostgres } from '@claude-gateway/dev';
import pg from 'pg';
import { cpuSeconds, pin } from './process-stats.ts';

/** What one database has done so far. */
export interface DatabaseWork {
  /** Statements, without those that begin and end transactions. */
  readonly statements: number;
  readonly transactions: number;
  /** CPU time of the whole server, in seconds. */
  readonly cpuSeconds: number;
}

/** A server whose writes are as durable as in production, and that counts statements. */
export interface MeasuredPostgres {
  readonly server: RunningPostgres;
  /** False when it could not be kept on its CPU. */
  readonly pinned: boolean;
  /** @param url Of the database. Asking is not counted. */
  work(url: string): Promise<DatabaseWork>;
  stop(): Promise<void>;
}

/** How long until a session has told the server what it did. */
const STATISTICS_DELAY_MS = 1_200;

export async function startMeasuredPostgres(cpu: number): Promise<MeasuredPostgres> {
  const server = await startPostgres({
    settings: {
      fsync: 'on',
      full_page_writes: 'on',
      autovacuum_naptime: '1min',
      shared_preload_libraries: 'pg_stat_statements',
      max_connections: '300',
    },
  });
  const admin = new pg.Client({ connectionString: server.url });
  await admin.connect();
  await admin.query('CREATE EXTENSION pg_stat_statements');
  const postmaster = Number(readFileSync(join(server.dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
  const pinned = pin(postmaster, cpu);
  for (const pid of childrenOf(postmaster)) pin(pid, cpu);
  return {
    server,
    pinned,
    async work(url) {
      await new Promise((done) => setTimeout(done, STATISTICS_DELAY_MS));
      const database = new URL(url).pathname.slice(1);
      const { rows } = await admin.query<{ statements: string; transactions: string }>(
        `SELECT (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s
                  WHERE s.dbid = d.datid AND query !~* '^(begin|commit|rollback|start transaction|listen)')
                  AS statements,
                xact_commit + xact_rollback AS transactions
           FROM pg_stat_database d WHERE datname = $1`,
        [database],
      );
      return {
        statements: Number(rows[0]?.statements),
        transactions: Number(rows[0]?.transactions),
        cpuSeconds: [postmaster, ...childrenOf(postmaster)].reduce((sum, pid) => sum + cpuOf(pid), 0),
      };
    },
    async stop() {
      await admin.end();
      await server.stop();
    },
  };
}

/** Sessions that ended took their CPU time with them; gateways keep theirs. */
function cpuOf(pid: number): number {
  try {
    return cpuSeconds(pid);
  } catch {
    return 0;
  }
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === parent)
    .map(Number);
}

function parentOf(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
