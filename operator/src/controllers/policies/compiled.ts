import type { ManagedSettings, SpendPolicy } from '@claude-gateway/crds';
import type { LimitOwner, OwnedRows } from '@claude-gateway/prisma';
import { limitsOf } from '../../policies/limits.ts';
import { managedPoliciesOf } from '../../policies/managed-policies.ts';
import type { PolicyProblem } from '../../policies/problems.ts';

export type PolicyResource = SpendPolicy | ManagedSettings;

/** What a policy becomes in a database. */
export interface CompiledPolicy {
  /** Absent when there are problems: the last good rows stay. */
  readonly rows: OwnedRows | undefined;
  /** Equal for equal rows. */
  readonly fingerprint: string | undefined;
  readonly problems: readonly PolicyProblem[];
  readonly warnings: readonly string[];
}

/** Objects of a cache never change, so each is compiled once. */
const compiled = new WeakMap<PolicyResource, CompiledPolicy>();

export function compilePolicy(policy: PolicyResource): CompiledPolicy {
  const known = compiled.get(policy);
  if (known !== undefined) return known;
  const result = compile(policy);
  compiled.set(policy, result);
  return result;
}

/** Of rows, whatever order they are in. */
export function fingerprintOf({ limits, managed }: Pick<OwnedRows, 'limits' | 'managed'>): string {
  return JSON.stringify([
    (limits ?? []).map(canonicalJson).sort(),
    (managed ?? []).map(canonicalJson).sort(),
  ]);
}

function compile(policy: PolicyResource): CompiledPolicy {
  const owner = ownerOf(policy);
  const policyName = policy.metadata.name;
  if (policy.kind === 'SpendPolicy') {
    const result = limitsOf(policy);
    if ('problems' in result) return rejected(result.problems);
    return accepted({ owner, policyName, limits: result.limits }, result.warnings);
  }
  const result = managedPoliciesOf(policy);
  if ('problems' in result) return rejected(result.problems);
  return accepted({ owner, policyName, managed: result.policies }, result.warnings);
}

function accepted(rows: OwnedRows, warnings: readonly string[]): CompiledPolicy {
  return { rows, fingerprint: fingerprintOf(rows), problems: [], warnings };
}

function rejected(problems: readonly PolicyProblem[]): CompiledPolicy {
  return { rows: undefined, fingerprint: undefined, problems, warnings: [] };
}

function ownerOf({ kind, metadata: { namespace = '', name, uid = '' } }: PolicyResource): LimitOwner {
  return { kind, namespace, name, uid };
}

/** JSON with sorted keys; integers that JSON does not know as texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === 'bigint') return `${part}n`;
    if (part === null || typeof part !== 'object' || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
