import { StoreUnavailableError, type LedgerStore } from '@claude-gateway/prisma';
import { Gauge, Histogram, type Registry } from 'prom-client';
import { TRANSACTION_SECONDS } from './buckets.ts';
import { TallyCounter, type Tally } from './tally.ts';

type Operation = 'open_windows' | 'lease' | 'settle' | 'heartbeat' | 'leave' | 'sweep' | 'recall' | 'windows';

/** What the ledger of this replica asks of PostgreSQL. */
export class TransactionMetrics {
  readonly #duration: Histogram<'operation' | 'outcome'>;
  readonly #batch: Histogram<'operation'>;
  readonly #leases: Tally;
  /** Whether the last call was answered; there is one every few seconds, heartbeats at least. */
  #up = false;

  constructor(registry: Registry) {
    this.#duration = new Histogram({
      name: 'claude_gateway_ledger_transaction_duration_seconds',
      help: 'Duration of the transactions of the ledger in PostgreSQL, by operation and outcome: ok, unavailable (PostgreSQL did not answer), or error.',
      labelNames: ['operation', 'outcome'],
      buckets: [...TRANSACTION_SECONDS],
      registers: [registry],
    });
    this.#batch = new Histogram({
      name: 'claude_gateway_ledger_batch_size',
      help: 'Windows (lease) or requests (settle) in one transaction.',
      labelNames: ['operation'],
      buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500],
      registers: [registry],
    });
    this.#leases = new TallyCounter({
      name: 'claude_gateway_ledger_leases_total',
      help: 'Leases that this replica took out of budgets.',
      labelNames: [],
      registry,
    }).child();
    const isUp = (): boolean => this.#up;
    new Gauge({
      name: 'claude_gateway_database_up',
      help: '1 when PostgreSQL answered the last call of the ledger, otherwise 0. There is one every five seconds at least.',
      registers: [registry],
      collect() {
        this.set(isUp() ? 1 : 0);
      },
    });
  }

  /** The same store, watched. */
  watch(store: LedgerStore): LedgerStore {
    return {
      openWindows: (windows) => this.#timed('open_windows', store.openWindows(windows)),
      lease: async (replicaId, asks) => {
        const answers = await this.#timed('lease', store.lease(replicaId, asks));
        this.#batch.observe({ operation: 'lease' }, asks.length);
        for (const { granted } of answers) if (granted > 0n) this.#leases.value++;
        return answers;
      },
      settle: async (replicaId, batch) => {
        const answer = await this.#timed('settle', store.settle(replicaId, batch));
        this.#batch.observe({ operation: 'settle' }, batch.settlements.length);
        return answer;
      },
      heartbeat: (beat) => this.#timed('heartbeat', store.heartbeat(beat)),
      leave: (replicaId) => this.#timed('leave', store.leave(replicaId)),
      sweep: () => this.#timed('sweep', store.sweep()),
      recall: (replicaId, windowIds) => this.#timed('recall', store.recall(replicaId, windowIds)),
      onRecall: (listener, holds) => store.onRecall(listener, holds),
      windows: (windowIds) => this.#timed('windows', store.windows(windowIds)),
    };
  }

  async #timed<T>(operation: Operation, answer: Promise<T>): Promise<T> {
    const startedAt = performance.now();
    let outcome = 'ok';
    try {
      return await answer;
    } catch (error) {
      outcome = error instanceof StoreUnavailableError ? 'unavailable' : 'error';
      throw error;
    } finally {
      this.#up = outcome !== 'unavailable';
      this.#duration.observe({ operation, outcome }, (performance.now() - startedAt) / 1000);
    }
  }
}
