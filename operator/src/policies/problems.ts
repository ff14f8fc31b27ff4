import { formatPath } from '@claude-gateway/contract';

/** Why a policy makes no sense, beyond what the API server has checked. */
export interface PolicyProblem {
  /** Such as `spec.limits[0].usd`. */
  readonly field: string;
  /** For people, with the remedy. */
  readonly message: string;
}

interface Schema<Spec> {
  safeParse(value: unknown): {
    readonly data?: Spec | undefined;
    readonly error?:
      | { readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[] }
      | undefined;
  };
}

/**
 * Holds a spec against the present schema. The API server has judged it too, but maybe by older rules, when it was
 * applied; and what breaks them would do harm to others in the database that they share.
 *
 * @returns the spec with its defaults.
 */
export function judge<Spec>(
  schema: Schema<Spec>,
  spec: unknown,
): { readonly spec: Spec } | { readonly problems: readonly PolicyProblem[] } {
  const { data, error } = schema.safeParse(spec);
  if (data !== undefined) return { spec: data };
  const issues = error?.issues ?? [];
  return { problems: issues.map(({ path, message }) => ({ field: fieldOf(['spec', ...path]), message })) };
}

/** As people write it: `spec.match.groups[1]`. */
export function fieldOf(path: readonly PropertyKey[]): string {
  return formatPath(path.map((step) => (typeof step === 'number' ? step : String(step))));
}

/** PostgreSQL keeps no such text, and no identity provider sends one. */
export function unstorable(field: string, text: string): PolicyProblem[] {
  if (!text.includes('\0') && text.isWellFormed()) return [];
  return [
    { field, message: 'holds a character that no text has (U+0000, or half of a surrogate pair): remove it' },
  ];
}
