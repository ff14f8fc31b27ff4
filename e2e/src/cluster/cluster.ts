import { startCurrentContext } from './current-context.ts';
import { startKind } from './kind.ts';
import { startTestbed } from './testbed.ts';

/** A whole Kubernetes which runs pods, as the end-to-end tests need it; which one it is does not matter to them. */
export interface Cluster {
  readonly name: 'testbed' | 'kind' | 'current-context';
  /** The path of a kubeconfig with all rights. */
  readonly kubeconfig: string;
  /** An address of this machine that pods reach. */
  readonly machine: string;
  /** Brings an image that the local Docker engine has to every node. */
  loadImage(reference: string): Promise<void>;
  /** Where Envoy answers, told apart by the `Host` header, and the classes that make it serve an Ingress or a route. */
  ingress(): Promise<ClusterIngress>;
  /** @returns what it printed. @throws with what it complained about. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Ends what was started; a cluster that was there before stays. Idempotent. */
  stop(): Promise<void>;
}

export interface ClusterIngress {
  readonly address: string;
  readonly port: number;
  readonly ingressClass: string;
  readonly gatewayClass: string;
  /** The Gateway of that class which an HTTPRoute names as its parent. */
  readonly gateway: { readonly namespace: string; readonly name: string };
}

const CLUSTERS = { testbed: startTestbed, kind: startKind, current: startCurrentContext };

/**
 * What CLAUDE_GATEWAY_E2E_CLUSTER names: `testbed` (default), `kind`, or `current` (what kubectl talks to).
 *
 * @throws when it names something else.
 */
export function clusterName(env: NodeJS.ProcessEnv): keyof typeof CLUSTERS {
  const name = env['CLAUDE_GATEWAY_E2E_CLUSTER'] || 'testbed';
  if (name === 'testbed' || name === 'kind' || name === 'current') return name;
  throw new Error(`CLAUDE_GATEWAY_E2E_CLUSTER is "${name}": use testbed, kind or current`);
}

/** Starts the cluster that CLAUDE_GATEWAY_E2E_CLUSTER names, or gets hold of it. */
export function startCluster(env: NodeJS.ProcessEnv = process.env): Promise<Cluster> {
  return CLUSTERS[clusterName(env)](env);
}
