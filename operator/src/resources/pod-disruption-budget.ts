import { child, selectorLabels, type Child, type ChildInput } from './child.ts';
import { POD_DISRUPTION_BUDGETS } from './types.ts';

/** One pod may be away at a time, unless the spec says otherwise. */
export function podDisruptionBudget({ gateway }: ChildInput): Child {
  const { minAvailable, maxUnavailable } = gateway.spec.podDisruptionBudget ?? {};
  return child(POD_DISRUPTION_BUDGETS, gateway, {
    spec: {
      ...(minAvailable === undefined ? { maxUnavailable: maxUnavailable ?? 1 } : { minAvailable }),
      selector: { matchLabels: selectorLabels(gateway) },
      // A pod that is not ready serves nobody, so it must not keep a node from being drained.
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
    },
  });
}
