import type { ClaudeGateway, ManagedSettings, SpendPolicy } from '@claude-gateway/crds';
import type { LimitContent, ManagedPolicyContent, SpendLimit } from '@claude-gateway/prisma';

/** Whom the gateway is asked about. */
export interface Person {
  readonly sub: string;
  readonly email?: string;
  readonly groups: readonly string[];
}

interface Cap {
  readonly limit: SpendLimit;
  readonly amount: bigint;
}

type Conflicts = ReadonlyMap<string, readonly { readonly name: string; readonly message: string }[]>;
interface Problems {
  readonly problems: readonly { readonly field: string; readonly message: string }[];
}

/** What the operator decides. */
interface OperatorDecisions {
  limitsOf(policy: Pick<SpendPolicy, 'spec'>): { readonly limits: readonly LimitContent[] } | Problems;
  managedPoliciesOf(
    settings: Pick<ManagedSettings, 'metadata' | 'spec'>,
  ): { readonly policies: readonly ManagedPolicyContent[]; readonly warnings: readonly string[] } | Problems;
  spendConflicts(policies: readonly SpendPolicy[], gateways: readonly ClaudeGateway[]): Conflicts;
  settingsConflicts(settings: readonly ManagedSettings[], gateways: readonly ClaudeGateway[]): Conflicts;
}

/** A row of managed policies, as the gateway reads it. */
export interface PolicyRow extends ManagedPolicyContent {
  readonly owner: NonNullable<SpendLimit['owner']>;
  readonly documentHash: string;
}

interface Policy {
  settingsFor(
    person: Person,
  ):
    | { readonly state: 'served'; readonly origins: readonly { readonly ownerUid: string }[] }
    | { readonly state: 'no_policy' | 'not_for_desktop' };
}

/** What the gateway decides. */
interface GatewayDecisions {
  compileCaps(
    set: { readonly revision: bigint; readonly limits: readonly SpendLimit[] },
    options: { readonly groupLimitMode: 'min' | 'max'; readonly warnAtPercent?: readonly number[] },
  ): { resolve(person: Person, at: number): readonly Cap[] };
  severityOf(standing: { readonly cap: Cap; readonly spent: bigint; readonly held: bigint }): string;
  isTimeZone(name: string): boolean;
  /** Of a gateway whose configuration file has no policies. */
  policyOf(rows: readonly PolicyRow[], mode: 'first_match' | 'layered'): Policy;
  /** Whether the gateway takes the document of a row. */
  isServed(row: PolicyRow): boolean;
}

export type Decisions = OperatorDecisions & GatewayDecisions;

type RowReader = (rows: { readonly revision: bigint; readonly policies: readonly PolicyRow[] }) => {
  readonly rows: readonly unknown[];
};

/**
 * The functions by which the operator and the gateway decide, side by side in one process: no program has both, so
 * nobody may import them.
 */
export async function loadDecisions(): Promise<Decisions> {
  const [limits, managedPolicies, conflicts] = await Promise.all([
    load<Pick<OperatorDecisions, 'limitsOf'>>('operator/src/policies/limits.ts'),
    load<Pick<OperatorDecisions, 'managedPoliciesOf'>>('operator/src/policies/managed-policies.ts'),
    load<Pick<OperatorDecisions, 'spendConflicts' | 'settingsConflicts'>>(
      'operator/src/policies/conflicts.ts',
    ),
  ]);
  const [compile, standing, periods, policyRows, precedence, policy] = await Promise.all([
    load<Pick<GatewayDecisions, 'compileCaps'>>('gateway/src/spend/caps/compile.ts'),
    load<Pick<GatewayDecisions, 'severityOf'>>('gateway/src/spend/standing/standing.ts'),
    load<Pick<GatewayDecisions, 'isTimeZone'>>('gateway/src/spend/caps/periods.ts'),
    load<{ createRowReader(deps: object): RowReader }>('gateway/src/policy/policy-rows.ts'),
    load<{
      combineWithRows(file: readonly never[], rows: readonly unknown[]): { policies: readonly unknown[] };
    }>('gateway/src/policy/precedence.ts'),
    load<{ compilePolicy(source: object, options: { readonly publicUrl: string }): Policy }>(
      'gateway/src/policy/policy.ts',
    ),
  ]);
  const served = (rows: readonly PolicyRow[]): readonly unknown[] => {
    const log = { error: () => undefined };
    const read = policyRows.createRowReader({ log, audit: () => undefined });
    return read({ revision: 1n, policies: rows }).rows;
  };
  return {
    ...limits,
    ...managedPolicies,
    ...conflicts,
    ...compile,
    ...standing,
    ...periods,
    isServed: (row) => served([row]).length === 1,
    policyOf(rows, mode) {
      const { policies } = precedence.combineWithRows([], served(rows));
      const source = {
        session: { ttl_hours: 1 },
        upstreams: [{ name: 'anthropic', provider: 'anthropic' }],
        models: [],
        auto_include_builtin_models: true,
        managed: { policy_mode: mode, policies },
      };
      return policy.compilePolicy(source, { publicUrl: 'https://claude.corp.example' });
    },
  };
}

async function load<T>(source: string): Promise<T> {
  return (await import(`../../../${source}`)) as T;
}
