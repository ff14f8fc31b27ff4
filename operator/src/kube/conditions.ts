/** A standard condition (KEP-1623), as `metav1.Condition`. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** CamelCase, for programs. */
  readonly reason: string;
  /** For people; without times, or it changes with every reconcile. */
  readonly message: string;
  readonly observedGeneration?: number;
  /** RFC 3339. */
  readonly lastTransitionTime: string;
}

export type ConditionInput = Omit<Condition, 'lastTransitionTime'>;

/**
 * The conditions with one set. `lastTransitionTime` moves only when `status` changes; nothing moves (the same list is
 * returned) when nothing differs. Sorted by type, so that equal conditions make equal documents.
 */
export function setCondition(
  conditions: readonly Condition[],
  input: ConditionInput,
  now: Date,
): readonly Condition[] {
  const before = findCondition(conditions, input.type);
  const same =
    before !== undefined &&
    before.status === input.status &&
    before.reason === input.reason &&
    before.message === input.message &&
    before.observedGeneration === input.observedGeneration;
  if (same) return conditions;
  const lastTransitionTime =
    before?.status === input.status ? before.lastTransitionTime : now.toISOString().replace(/\.\d+Z$/, 'Z');
  return [...conditions.filter(({ type }) => type !== input.type), { ...input, lastTransitionTime }].sort(
    (a, b) => (a.type < b.type ? -1 : 1),
  );
}

/** Sets each of `inputs`, and drops those whose type is in `owned` but not in `inputs`; others' conditions stay. */
export function mergeConditions(
  conditions: readonly Condition[],
  inputs: readonly ConditionInput[],
  now: Date,
  owned: readonly string[] = [],
): readonly Condition[] {
  const wanted = new Set(inputs.map(({ type }) => type));
  const unwanted = conditions.some(({ type }) => owned.includes(type) && !wanted.has(type));
  const kept = unwanted
    ? conditions.filter(({ type }) => !owned.includes(type) || wanted.has(type))
    : conditions;
  return inputs.reduce((all, input) => setCondition(all, input, now), kept);
}

export function findCondition(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((condition) => condition.type === type);
}

/** Whether the condition is true, for this generation or a later one when one is given. */
export function isTrue(conditions: readonly Condition[], type: string, generation?: number): boolean {
  const condition = findCondition(conditions, type);
  if (condition?.status !== 'True') return false;
  return generation === undefined || (condition.observedGeneration ?? 0) >= generation;
}
