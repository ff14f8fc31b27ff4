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
    readonly error?: { readonly issues: readonly Issue[] } | undefined;
  };
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** With `unrecognized_keys`, the fields at `path` that nobody knows. */
  readonly code?: string;
  readonly keys?: readonly string[];
}

/**
 * Holds a spec against the present schema. The API server has judged it too, but maybe by older rules, when it was
 * applied; and what breaks them would do harm to others in the database that they share. A field that is unknown here is one of
 * newer definitions, since the API server keeps no others: it is left out, so that policies stay in force while the operator
 * is the older one.
 *
 * @returns the spec with its defaults, and a sentence about each field that was left out.
 */
export function judge<Spec>(
  schema: Schema<Spec>,
  spec: unknown,
):
  | { readonly spec: Spec; readonly warnings: readonly string[] }
  | { readonly problems: readonly PolicyProblem[] } {
  const known = structuredClone(spec);
  const warnings: string[] = [];
  for (const { path, keys = [] } of schema.safeParse(spec).error?.issues.filter(isUnknownField) ?? []) {
    const parent = path.reduce<unknown>((value, step) => (value as Fields)[step], known) as Fields;
    for (const key of keys) {
      delete parent[key];
      const field = fieldOf(['spec', ...path, key]);
      warnings.push(`${field} is ignored: this operator is older than the definitions, so upgrade it`);
    }
  }
  const { data, error } = schema.safeParse(known);
  if (data !== undefined) return { spec: data, warnings };
  const issues = error?.issues ?? [];
  return { problems: issues.map(({ path, message }) => ({ field: fieldOf(['spec', ...path]), message })) };
}

type Fields = Record<PropertyKey, unknown>;

const isUnknownField = ({ code }: Issue): boolean => code === 'unrecognized_keys';

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
