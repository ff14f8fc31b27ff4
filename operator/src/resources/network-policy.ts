import { metricsPortOf } from '../render/metrics-port.ts';
import { child, selectorLabels, type Child, type ChildInput } from './child.ts';
import { NETWORK_POLICIES } from './types.ts';

/** None when it is switched off. Probes come from the node, which a NetworkPolicy never keeps out. */
export function networkPolicy({ gateway }: ChildInput): Child | undefined {
  const { networkPolicy: wanted, listen } = gateway.spec;
  const { enabled, ingressFrom, metricsFrom, egress } = wanted;
  if (!enabled) return undefined;
  return child(NETWORK_POLICIES, gateway, {
    spec: {
      podSelector: { matchLabels: selectorLabels(gateway) },
      policyTypes: egress === undefined ? ['Ingress'] : ['Egress', 'Ingress'],
      ingress: [
        ...access(ingressFrom, listen.port),
        // Everybody by default: nobody knows where monitoring runs, and there is nothing secret in metrics.
        ...access(metricsFrom, metricsPortOf(gateway)),
      ],
      ...(egress !== undefined && { egress }),
    },
  });
}

/** A rule whose list of peers is empty would let everybody in, and not nobody: for nobody there is no rule. */
function access(peers: readonly object[] | undefined, port: number): object[] {
  if (peers?.length === 0) return [];
  return [{ ...(peers !== undefined && { from: peers }), ports: [{ protocol: 'TCP', port }] }];
}
