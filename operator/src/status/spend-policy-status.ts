import type { SpendPolicyStatus } from '@claude-gateway/crds';
import { mergeConditions, type Condition } from '../kube/conditions.ts';
import type { SpendPolicyFacts } from './facts.ts';
import { condition } from './reasons.ts';
export function spendPolicyStatus(
  facts: SpendPolicyFacts,
  before: readonly Condition[],
  now: Date,
): SpendPolicyStatus {
  const { generation } = facts.policy.metadata;
  const accepted =
    facts.problems.length > 0
      ? condition('SpendPolicy', 'Accepted', 'Invalid', JSON.stringify(facts.problems), generation)
      : facts.gateways.length === 0
        ? condition('SpendPolicy', 'Accepted', 'GatewayNotFound', 'none', generation)
        : condition('SpendPolicy', 'Accepted', 'Accepted', 'ok', generation);
  const all = facts.gateways.flatMap(({ revision, replicas }) =>
    replicas.map((one) => revision !== undefined && one.policyRevision >= revision),
  );
  const n = all.filter(Boolean).length;
  const second =
    all.length > 0 && n === all.length
      ? condition('SpendPolicy', 'Enforced', 'AllReplicas', n + ' of ' + all.length + ' replicas', generation)
      : condition('SpendPolicy', 'Enforced', 'Progressing', n + ' of ' + all.length, generation);
  return {
    observedGeneration: generation ?? 0,
    conditions: [...mergeConditions(before, [accepted, second], now)],
    gateways: facts.gateways.map((g) => ({
      name: g.name,
      ...(g.revision !== undefined && { revision: Number(g.revision) }),
      replicas: g.replicas.length,
      enforcedReplicas: g.replicas.filter(
        (one) => g.revision !== undefined && one.policyRevision >= g.revision,
      ).length,
    })),
  };
}
