import { child, selectorLabels, type Child, type ChildInput } from './child.ts';
import { SERVICE_MONITORS } from './types.ts';

/** None when the spec asks for none, the API server has no such kind, or the gateway serves no metrics. */
export function serviceMonitor({ gateway, kinds, metricsPort }: ChildInput): Child | undefined {
  const { serviceMonitor: wanted, interval, labels } = gateway.spec.monitoring;
  if (!wanted || !kinds.serviceMonitor || metricsPort === undefined) return undefined;
  return child(
    SERVICE_MONITORS,
    gateway,
    {
      spec: {
        selector: { matchLabels: selectorLabels(gateway) },
        // The port of the pods, which the Service does not have.
        // https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.Endpoint
        endpoints: [{ targetPort: metricsPort, path: '/metrics', interval }],
      },
    },
    { labels },
  );
}
