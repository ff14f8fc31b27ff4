import type { ClaudeGateway } from '@claude-gateway/crds';

/** What of a policy says which gateways it is for. */
export interface Selecting {
  readonly metadata: { readonly namespace?: string };
  readonly spec: { readonly gatewayRefs?: readonly { readonly name: string }[] | undefined };
}

export interface Selection {
  /** By name. */
  readonly selected: readonly ClaudeGateway[];
  /** Names in `gatewayRefs` that no gateway of the namespace has. */
  readonly missing: readonly string[];
}

/** The gateways of its namespace that a policy is for: those that it names, or all. */
export function select({ metadata, spec }: Selecting, gateways: Iterable<ClaudeGateway>): Selection {
  const here = new Map<string, ClaudeGateway>();
  for (const gateway of gateways)
    if (gateway.metadata.namespace === metadata.namespace) here.set(gateway.metadata.name, gateway);
  const names = (spec.gatewayRefs?.map(({ name }) => name) ?? [...here.keys()]).sort();
  return {
    selected: names.flatMap((name) => here.get(name) ?? []),
    missing: names.filter((name) => !here.has(name)),
  };
}
