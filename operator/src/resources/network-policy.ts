import { metricsPortOf } from '../render/metrics-port.ts';
import { child, selectorLabels, type Child, type ChildInput } from './child.ts';
import { NETWORK_POLICIES } from './types.ts';

/** None when it is switched off. Probes come from the node, which a NetworkPolicy never keeps out. */
export function networkPolicy({ gateway }: ChildInput): Child | undefined {
  const { networkPolicy: wanted, listen } = gateway.spec;
  const { enabled, ingressFrom, egress } = wanted;
  if (!enabled) return undefined;
  const tcp = (port: number) => [{ protocol: 'TCP', port }];
  return child(NETWORK_POLICIES, gateway, {
    spec: {
      podSelector: { matchLabels: selectorLabels(gateway) },
      policyTypes: egress === undefined ? ['Ingress'] : ['Egress', 'Ingress'],
      ingress: [
        // Peers without any would be everybody, and not nobody.
        ...(ingressFrom?.length === 0
          ? []
          : [{ ...(ingressFrom !== undefined && { from: ingressFrom }), ports: tcp(listen.port) }]),
        // From everywhere: nobody knows where monitoring runs, and there is nothing secret in metrics.
        { ports: tcp(metricsPortOf(gateway)) },
      ],
      ...(egress !== undefined && { egress }),
    },
  });
}
