import type { Condition } from '../kube/conditions.ts';
import type { EventInput } from '../kube/events.ts';
export function transitions(
  before: readonly Condition[],
  after: readonly Condition[],
): readonly EventInput[] {
  return after.flatMap(({ type, status, reason, message }) => {
    const was = before.find((one) => one.type === type);
    if (was?.status === status && was.reason === reason) return [];
    return [
      {
        type: status === 'False' ? ('Warning' as const) : ('Normal' as const),
        reason,
        action: type,
        note: message,
      },
    ];
  });
}
