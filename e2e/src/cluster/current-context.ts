import { findKubeProgram } from '../testbed/api-server.ts';
import type { Cluster } from './cluster.ts';
import { execute } from './execute.ts';

/**
 * The cluster of $KUBECONFIG. Images are pushed by whoever runs the tests, and E2E_INGRESS_ADDRESS (host or host:port),
 * E2E_INGRESS_CLASS, E2E_GATEWAY_CLASS and E2E_GATEWAY (namespace/name) say how its Envoy is reached;
 * E2E_MACHINE_ADDRESS is an address of this machine that its pods reach.
 *
 * @throws when one of these is missing.
 */
export function startCurrentContext(env: NodeJS.ProcessEnv): Cluster {
  const named = (name: string): string => {
    const value = env[name];
    if (value === undefined || value === '') throw new Error(`the current context needs ${name}`);
    return value;
  };
  const kubeconfig = named('KUBECONFIG');
  return {
    name: 'current-context',
    kubeconfig,
    machine: named('E2E_MACHINE_ADDRESS'),
    loadImage: () => Promise.resolve(),
    ingress: async () => {
      const [address = '', port = '80'] = named('E2E_INGRESS_ADDRESS').split(':');
      const [namespace = '', name = ''] = named('E2E_GATEWAY').split('/');
      return await Promise.resolve({
        address,
        port: Number(port),
        ingressClass: named('E2E_INGRESS_CLASS'),
        gatewayClass: named('E2E_GATEWAY_CLASS'),
        gateway: { namespace, name },
      });
    },
    kubectl: (args, input) =>
      execute(findKubeProgram('kubectl', env) ?? 'kubectl', [`--kubeconfig=${kubeconfig}`, ...args], input),
    stop: () => Promise.resolve(),
  };
}
