import type { Condition } from '../../kube/conditions.ts';

export type KStatus = 'Current' | 'InProgress' | 'Failed' | 'Terminating';

interface Observed {
  readonly metadata: { readonly generation?: number; readonly deletionTimestamp?: string };
  readonly status?: { readonly observedGeneration?: number; readonly conditions?: readonly Condition[] };
}

/**
 * How kstatus, and with it Flux and kpt, takes an object of a kind that it does not know: its generic rules, in its order.
 * https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status/generic.go and status.go (checkReadyCondition)
 */
export function kstatusOf({ metadata, status = {} }: Observed): KStatus {
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (status.observedGeneration !== undefined && status.observedGeneration !== metadata.generation)
    return 'InProgress';
  const conditions = status.conditions ?? [];
  for (const { type, status: is } of conditions) {
    if (type === 'Reconciling' && is === 'True') return 'InProgress';
    if (type === 'Stalled' && is === 'True') return 'Failed';
  }
  const ready = conditions.find(({ type }) => type === 'Ready');
  return ready === undefined || ready.status === 'True' ? 'Current' : 'InProgress';
}
