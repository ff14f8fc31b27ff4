import { metricsPortOf } from '../render/metrics-port.ts';
import { child, selectorLabels, type Child, type ChildInput } from './child.ts';
import { SERVICE_MONITORS } from './types.ts';

/** None when the spec asks for none, or the API server has no such kind. */
export function serviceMonitor({ gateway, kinds }: ChildInput): Child | undefined {
  const { serviceMonitor: wanted, interval, labels } = gateway.spec.monitoring;
  if (!wanted || !kinds.serviceMonitor) return undefined;
  return child(
    SERVICE_MONITORS,
    gateway,
    {
      spec: {
        selector: { matchLabels: selectorLabels(gateway) },
        // The port of the pods, which the Service does not have.
        // https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.Endpoint
        endpoints: [{ targetPort: metricsPortOf(gateway), path: '/metrics', interval }],
      },
    },
    { labels },
  );
}
