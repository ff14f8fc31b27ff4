import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** What the operator counts. Names of namespaces and resources are no labels: there may be thousands. */
export interface OperatorMetrics {
  readonly registry: Registry;
  readonly reconciled: (controller: string, durationMs: number, error?: unknown) => void;
  /** Read when metrics are scraped. */
  readonly observe: (sources: MetricSources) => void;
}

export interface MetricSources {
  /** Keys that wait or are worked on, by controller. */
  readonly queues: () => Iterable<readonly [controller: string, size: number]>;
  /** Objects in the caches, by kind. */
  readonly caches: () => Iterable<readonly [kind: string, size: number]>;
  readonly leading: () => boolean;
}

export function createMetrics(): OperatorMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const duration = new Histogram({
    name: 'claude_gateway_operator_reconcile_duration_seconds',
    help: 'Duration of reconciles, by controller and outcome.',
    labelNames: ['controller', 'outcome'],
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10, 60],
    registers: [registry],
  });
  const failures = new Counter({
    name: 'claude_gateway_operator_reconcile_failures_total',
    help: 'Reconciles that failed and are tried again, by controller.',
    labelNames: ['controller'],
    registers: [registry],
  });
  return {
    registry,
    reconciled: (controller, durationMs, error) => {
      duration.observe({ controller, outcome: error === undefined ? 'ok' : 'error' }, durationMs / 1000);
      if (error !== undefined) failures.inc({ controller });
    },
    observe: ({ queues, caches, leading }) => {
      new Gauge({
        name: 'claude_gateway_operator_queue_keys',
        help: 'Keys that wait, are worked on, or are due later, by controller.',
        labelNames: ['controller'],
        registers: [registry],
        collect() {
          for (const [controller, size] of queues()) this.set({ controller }, size);
        },
      });
      new Gauge({
        name: 'claude_gateway_operator_cached_objects',
        help: 'Objects in the caches, by kind.',
        labelNames: ['kind'],
        registers: [registry],
        collect() {
          this.reset();
          for (const [kind, size] of caches()) this.inc({ kind }, size);
        },
      });
      new Gauge({
        name: 'claude_gateway_operator_leader',
        help: '1 on the replica that reconciles, 0 on those that stand by.',
        registers: [registry],
        collect() {
          this.set(leading() ? 1 : 0);
        },
      });
    },
  };
}
