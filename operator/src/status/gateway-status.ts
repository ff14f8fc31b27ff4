import type { ClaudeGatewayStatus } from '@claude-gateway/crds';
import { mergeConditions, type Condition } from '../kube/conditions.ts';
import type { GatewayFacts } from './facts.ts';
import { condition } from './reasons.ts';
export function gatewayStatus(
  facts: GatewayFacts,
  before: readonly Condition[],
  now: Date,
): ClaudeGatewayStatus {
  const { generation } = facts.gateway.metadata;
  const accepted =
    facts.missing.length > 0
      ? condition('ClaudeGateway', 'Accepted', 'ReferenceNotFound', JSON.stringify(facts.missing), generation)
      : facts.problems.length > 0
        ? condition('ClaudeGateway', 'Accepted', 'Invalid', JSON.stringify(facts.problems), generation)
        : facts.foreign !== undefined
          ? condition('ClaudeGateway', 'Accepted', 'NameTaken', facts.foreign, generation)
          : condition('ClaudeGateway', 'Accepted', 'Accepted', 'ok', generation);
  const d = facts.deployment;
  const ready =
    d !== undefined && d.readyReplicas >= d.desired
      ? condition('ClaudeGateway', 'Ready', 'Ready', 'ready', generation)
      : condition(
          'ClaudeGateway',
          'Ready',
          'RolloutInProgress',
          facts.database.problem ?? 'waiting',
          generation,
        );
  return {
    observedGeneration: generation ?? 0,
    conditions: [...mergeConditions(before, [accepted, ready], now)],
    replicas: d?.replicas ?? 0,
    readyReplicas: d?.readyReplicas ?? 0,
    spendPolicies: facts.spendPolicies,
    managedSettings: facts.managedSettings,
    selector: facts.selector,
  };
}
