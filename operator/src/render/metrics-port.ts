import type { ClaudeGateway } from '@claude-gateway/crds';

/** The port that OpenTelemetry's specification gives to Prometheus exporters. */
const METRICS_PORT = 9464;

/** Where the pods of a gateway serve metrics, path /metrics, plain HTTP: never where they serve everything else. */
export function metricsPortOf({ spec }: ClaudeGateway): number {
  return spec.listen.port === METRICS_PORT ? METRICS_PORT + 1 : METRICS_PORT;
}
