import type { UsageRecord } from '@claude-gateway/prisma';
import { Counter, type Registry } from 'prom-client';
import { REQUEST_SECONDS } from './buckets.ts';
import { TallyHistogram } from './tally-histogram.ts';
import { TallyCounter, type Tally } from './tally.ts';

/** The label of models that neither the catalog nor the configuration has. */
export const OTHER_MODEL = 'other';

const NANO = 1e9;

/** What is held, settled and used. */
export class LedgerMetrics {
  readonly #holds: TallyCounter<'result'>;
  readonly #waits: TallyHistogram<'result'>;
  readonly #releases: Tally;
  readonly #settlements: TallyCounter<'outcome'>;
  readonly #tokens: TallyCounter<'model' | 'type'>;
  readonly #models = new Map<string, ModelUsage>();
  #known: ReadonlySet<string> = new Set();

  constructor(registry: Registry) {
    this.#holds = new TallyCounter({
      name: 'claude_gateway_ledger_holds_total',
      help: 'Holds that requests asked for, by result: held, short (some budget has no room), unavailable (PostgreSQL is away), failed (PostgreSQL answers with an error: the request is refused), unheld (admitted without one, as the policy says). A request that is short may ask again for less.',
      labelNames: ['result'],
      registry,
    });
    this.#waits = new TallyHistogram({
      name: 'claude_gateway_ledger_wait_seconds',
      help: 'How long requests waited for what other requests in flight hold of their budgets, by how it ended: held, short (what was spent meanwhile leaves no room), changed (the limits have changed, and it is asked again), unavailable (PostgreSQL is away), failed (it answers with an error), timeout, full (too many wait), gone (the client left). Who ends with timeout or full is answered a 429 that clients repeat within seconds.',
      labelNames: ['result'],
      buckets: [...REQUEST_SECONDS, 20, 30],
      registry,
    });
    this.#releases = new TallyCounter({
      name: 'claude_gateway_ledger_releases_total',
      help: 'Holds that were given back because the request cost nothing.',
      labelNames: [],
      registry,
    }).child();
    this.#settlements = new TallyCounter({
      name: 'claude_gateway_ledger_settlements_total',
      help: 'Requests that were settled, by outcome: complete (counted by the upstream to the end), or partial.',
      labelNames: ['outcome'],
      registry,
    });
    this.#tokens = new TallyCounter({
      name: 'claude_gateway_tokens_total',
      help: 'Tokens that were billed, by model and type.',
      labelNames: ['model', 'type'],
      registry,
    });
    const models = this.#models;
    new Counter({
      name: 'claude_gateway_estimated_cost_usd_total',
      help: 'What the billed tokens cost at the configured prices, in US dollars, by model.',
      labelNames: ['model'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [model, { nanoUsd }] of models) this.inc({ model }, Number(nanoUsd) / NANO);
      },
    });
  }

  /** Only these become labels; names of others are what somebody typed. */
  knowModels(models: Iterable<string>): void {
    this.#known = new Set(models);
  }

  held(result: string): void {
    this.#holds.child(result).value++;
  }

  waited(result: string, ms: number): void {
    this.#waits.child(result).observe(ms / 1000);
  }

  released(): void {
    this.#releases.value++;
  }

  settled(record: UsageRecord): void {
    this.#settlements.child(record.outcome).value++;
    const usage = this.#usageOf(this.#known.has(record.model) ? record.model : OTHER_MODEL);
    usage.input.value += record.inputTokens;
    usage.output.value += record.outputTokens;
    usage.cacheRead.value += record.cacheReadTokens;
    usage.cacheWrite.value += record.cacheWrite5mTokens + record.cacheWrite1hTokens;
    usage.nanoUsd += record.costNanoUsd;
  }

  #usageOf(model: string): ModelUsage {
    let usage = this.#models.get(model);
    if (usage === undefined) {
      usage = {
        input: this.#tokens.child(model, 'input'),
        output: this.#tokens.child(model, 'output'),
        cacheRead: this.#tokens.child(model, 'cache_read'),
        cacheWrite: this.#tokens.child(model, 'cache_write'),
        nanoUsd: 0n,
      };
      this.#models.set(model, usage);
    }
    return usage;
  }
}

interface ModelUsage {
  readonly input: Tally;
  readonly output: Tally;
  readonly cacheRead: Tally;
  readonly cacheWrite: Tally;
  nanoUsd: bigint;
}
