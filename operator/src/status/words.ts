import type { Conflict, Problem, Reference } from './facts.ts';

/** `a`, `a and b`, `a, b and c`. */
export function listed(names: readonly string[]): string {
  const last = names.at(-1) ?? '';
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} and ${last}`;
}

/** `1 policy`, `2 policies`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** One line for each. */
export function problemsInWords(problems: readonly Problem[]): string {
  return problems.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('; ');
}

export function referencesInWords(missing: readonly Reference[]): string {
  const each = missing.map(
    ({ kind, name, key, fields }) =>
      `${kind} ${name} has no key ${key}, or does not exist (${listed(fields)})`,
  );
  return `${each.join('; ')}. Create it in the namespace of this gateway: it is taken up at once.`;
}

/** Name and message within what the schema allows. */
export function conflictsOf(conflicts: readonly Conflict[]): { name: string; message: string }[] {
  return conflicts.map(({ name, message }) => ({ name, message }));
}
