import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { EventMetrics } from './events.ts';
import { InferenceMetrics } from './inference.ts';
import { LedgerMetrics } from './ledger.ts';
import { RequestMetrics } from './requests.ts';
import { TransactionMetrics } from './transactions.ts';

/** What is read when metrics are scraped. */
export interface MetricSources {
  /** Requests that have not been answered to their last byte. */
  readonly inFlight: () => number;
  /** Of clients, idle ones included. */
  readonly connections: () => Promise<number>;
  /** Of request bodies, those included that are still to come. */
  readonly bufferedRequestBytes: () => number;
  readonly draining: () => boolean;
  /** Requests that hold something of budgets, or were admitted without. */
  readonly openHolds: () => number;
  /** Answers that are read on though their clients have gone. */
  readonly abandonedReads: () => number;
  /** Settlements that PostgreSQL has not taken. */
  readonly queuedSettlements: () => number;
  readonly policyRevision: () => bigint;
}

export interface MetricsOptions {
  readonly version: string;
  readonly sources: MetricSources;
  /** ms since the epoch. */
  readonly now: () => number;
}

/**
 * The metrics of one running gateway, in a registry of its own. Labels have few values and are about the gateway: whoever
 * asks, and what for, is in the audit stream and in usage records.
 */
export interface GatewayMetrics {
  readonly registry: Registry;
  readonly requests: RequestMetrics;
  readonly inference: InferenceMetrics;
  readonly ledger: LedgerMetrics;
  readonly transactions: TransactionMetrics;
  readonly events: EventMetrics;
}

export function createMetrics({ version, sources, now }: MetricsOptions): GatewayMetrics {
  const registry = new Registry();
  const metrics = {
    registry,
    requests: new RequestMetrics(registry),
    inference: new InferenceMetrics(registry),
    ledger: new LedgerMetrics(registry),
    transactions: new TransactionMetrics(registry),
    events: new EventMetrics(registry, now),
  };
  const gauge = (name: string, help: string, read: () => number | Promise<number>): void => {
    new Gauge({
      name: `claude_gateway_${name}`,
      help,
      registers: [registry],
      async collect() {
        this.set(await read());
      },
    });
  };
  gauge(
    'http_requests_in_flight',
    'Requests that have not been answered to their last byte.',
    sources.inFlight,
  );
  gauge('http_connections', 'Open connections of clients, idle ones included.', sources.connections);
  gauge(
    'http_buffered_request_bytes',
    'Bytes of request bodies that are kept or on their way; see limits.max_buffered_request_bytes.',
    sources.bufferedRequestBytes,
  );
  gauge('draining', '1 from SIGTERM on, while requests in flight may end, otherwise 0.', () =>
    sources.draining() ? 1 : 0,
  );
  gauge('ledger_open_holds', 'Requests that are admitted and not settled.', sources.openHolds);
  gauge(
    'abandoned_reads',
    'Answers that are read on to their end though their clients have gone, so that the count of the upstream is charged.',
    sources.abandonedReads,
  );
  gauge(
    'ledger_queued_settlements',
    'Settlements that PostgreSQL has not taken. They gather while it is away.',
    sources.queuedSettlements,
  );
  gauge('policy_revision', 'Revision of limits and managed settings that this replica enforces.', () =>
    Number(sources.policyRevision()),
  );
  new Gauge({
    name: 'claude_gateway_build_info',
    help: 'Always 1; the version is in the label.',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version }, 1);
  collectDefaultMetrics({ register: registry });
  return metrics;
}
