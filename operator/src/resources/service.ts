import { child, selectorLabels, type Child, type ChildInput } from './child.ts';
import { HTTP_PORT } from './gateway-container.ts';
import { SERVICES } from './types.ts';

/** Metrics are not among its ports: it may be a load balancer that everybody reaches. */
export function service({ gateway }: ChildInput): Child {
  const { service: wanted, listen } = gateway.spec;
  const { type, port, loadBalancerClass, labels, annotations } = wanted;
  const scheme = listen.tls === undefined ? 'http' : 'https';
  const spec = {
    type,
    // The API server refuses a class with other types.
    ...(type === 'LoadBalancer' && loadBalancerClass !== undefined && { loadBalancerClass }),
    selector: selectorLabels(gateway),
    ports: [{ name: scheme, appProtocol: scheme, protocol: 'TCP', port, targetPort: HTTP_PORT }],
  };
  return child(SERVICES, gateway, { spec }, { labels, annotations });
}
