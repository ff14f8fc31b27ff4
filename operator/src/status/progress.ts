import type { ConditionInput } from '../kube/conditions.ts';
import { severityOf, type StatusKind } from './reasons.ts';

/** Types of the conditions that are there only while they are true. */
export const PROGRESS_TYPES: readonly string[] = ['Reconciling', 'Stalled'];

/**
 * `Reconciling` while something is on its way or waited for, `Stalled` when somebody has to change something, and neither when
 * all is as wanted: how kstatus (Flux, kpt) and scripts for Argo CD take a resource of a kind that they do not know.
 * https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
 *
 * @param conditions those of the kind itself; the first that is not as wanted decides.
 */
export function progressConditions(
  kind: StatusKind,
  conditions: readonly ConditionInput[],
): readonly ConditionInput[] {
  for (const condition of conditions) {
    const severity = severityOf(kind, condition.type, condition.reason);
    if (severity === 'failure') return [{ ...condition, type: 'Stalled', status: 'True' }];
    if (severity === 'progress' || severity === 'waiting')
      return [{ ...condition, type: 'Reconciling', status: 'True' }];
  }
  return [];
}

/** `Ready` of a policy: it is accepted, and every pod runs it. With the reason and the words of whatever is not so. */
export function policyReady(accepted: ConditionInput, delivered: ConditionInput): ConditionInput {
  const decisive = accepted.status === 'True' ? delivered : accepted;
  return { ...decisive, type: 'Ready' };
}
