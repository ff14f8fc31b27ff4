import type { Registry } from 'prom-client';
import { REQUEST_SECONDS, STREAM_SECONDS } from './buckets.ts';
import { TallyHistogram, type Observations } from './tally-histogram.ts';
import { TallyCounter } from './tally.ts';

type Streamed = 'true' | 'false';

/** Requests for inference, and what became of them at the upstreams. */
export class InferenceMetrics {
  readonly #attempts: TallyCounter<'upstream' | 'outcome'>;
  readonly #failovers: TallyCounter<'upstream'>;
  readonly #endings: TallyCounter<'ending' | 'streamed'>;
  readonly #firstByte: Record<Streamed, Observations>;
  readonly #duration: Record<Streamed, Observations>;

  constructor(registry: Registry) {
    this.#attempts = new TallyCounter({
      name: 'claude_gateway_upstream_attempts_total',
      help: 'Attempts to have a request answered by an upstream, by outcome. A repetition at the same upstream, on a new connection or with a new credential, is part of its attempt.',
      labelNames: ['upstream', 'outcome'],
      registry,
    });
    this.#failovers = new TallyCounter({
      name: 'claude_gateway_upstream_failovers_total',
      help: 'Requests that went on to the next upstream because this one failed.',
      labelNames: ['upstream'],
      registry,
    });
    this.#endings = new TallyCounter({
      name: 'claude_gateway_inference_requests_total',
      help: 'Requests for inference, by how their answer ended: complete, cut by the upstream (upstream_cut), given up by the client (client_gone), or answered by the gateway or with an error of the upstream (refused).',
      labelNames: ['ending', 'streamed'],
      registry,
    });
    const firstByte = new TallyHistogram({
      name: 'claude_gateway_inference_time_to_first_byte_seconds',
      help: 'Time from the arrival of a request for inference to the beginning of the answer of an upstream.',
      labelNames: ['streamed'],
      buckets: [...REQUEST_SECONDS, 30, 60],
      registry,
    });
    const duration = new TallyHistogram({
      name: 'claude_gateway_inference_duration_seconds',
      help: 'Time from the arrival of a request for inference to the last byte of the answer of an upstream.',
      labelNames: ['streamed'],
      buckets: [...REQUEST_SECONDS, ...STREAM_SECONDS],
      registry,
    });
    const both = (histogram: TallyHistogram<'streamed'>): Record<Streamed, Observations> => ({
      true: histogram.child('true'),
      false: histogram.child('false'),
    });
    this.#firstByte = both(firstByte);
    this.#duration = both(duration);
  }

  attempted(upstream: string, outcome: string): void {
    this.#attempts.child(upstream, outcome).value++;
  }

  failedOver(upstream: string): void {
    this.#failovers.child(upstream).value++;
  }

  /** @param firstByteMs null when no upstream answered with success. */
  ended(streamed: boolean, ending: string, firstByteMs: number | null, durationMs: number): void {
    const label = streamed ? 'true' : 'false';
    this.#endings.child(ending, label).value++;
    if (firstByteMs === null) return;
    this.#firstByte[label].observe(firstByteMs / 1000);
    this.#duration[label].observe(durationMs / 1000);
  }
}
