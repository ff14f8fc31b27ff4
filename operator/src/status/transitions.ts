import type { Condition } from '../kube/conditions.ts';
import type { EventInput } from '../kube/events.ts';
import { severityOf } from './reasons.ts';

/** Changes of conditions that are worth an event: not what is on its way, and nothing twice. */
export function transitions(
  kind: string,
  before: readonly Condition[],
  after: readonly Condition[],
): readonly EventInput[] {
  return after.flatMap(({ type, status, reason, message }) => {
    const was = before.find((one) => one.type === type);
    const severity = severityOf(kind, type, reason);
    if (was?.status === status && was.reason === reason) return [];
    if (severity === 'progress' || severity === undefined) return [];
    // Good from the start is what everybody expects.
    if (severity === 'good' && was === undefined) return [];
    return [
      {
        type: severity === 'failure' || severity === 'waiting' ? 'Warning' : 'Normal',
        reason,
        action: type,
        note: message,
      },
    ];
  });
}
