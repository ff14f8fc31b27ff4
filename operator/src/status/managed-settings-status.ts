import type { ManagedSettingsStatus } from '@claude-gateway/crds';
import { mergeConditions, type Condition, type ConditionInput } from '../kube/conditions.ts';
import { deliveryCondition, MOST_GATEWAYS, upToDate } from './delivery.ts';
import type { ManagedSettingsFacts } from './facts.ts';
import { policyReady, progressConditions, PROGRESS_TYPES } from './progress.ts';
import { condition } from './reasons.ts';
import { nobody } from './spend-policy-status.ts';
import { conflictsOf, listed, problemsInWords } from './words.ts';

/** What managed settings say of themselves. */
export function managedSettingsStatus(
  facts: ManagedSettingsFacts,
  before: readonly Condition[],
  now: Date,
): ManagedSettingsStatus {
  const { settings, gateways, conflicts, checksum, clients } = facts;
  const { generation } = settings.metadata;
  const accepted = acceptedCondition(facts, generation);
  const delivered = deliveryCondition('ManagedSettings', 'Delivered', facts, generation);
  const inputs = [
    accepted,
    delivered,
    policyReady(accepted, delivered),
    ...progressConditions('ManagedSettings', [accepted, delivered]),
  ];
  return {
    ...(generation !== undefined && { observedGeneration: generation }),
    conditions: [...mergeConditions(before, inputs, now, PROGRESS_TYPES)],
    ...(checksum !== undefined && { checksum }),
    ...(clients !== undefined && { clients: { ...clients } }),
    gateways: gateways.slice(0, MOST_GATEWAYS).map((gateway) => ({
      name: gateway.name,
      ...(gateway.revision !== undefined && { revision: Number(gateway.revision) }),
      replicas: gateway.replicas.length,
      deliveringReplicas: upToDate(gateway),
    })),
    ...(conflicts.length > 0 && { conflicts: conflictsOf(conflicts) }),
  };
}

function acceptedCondition(
  { settings, problems, warnings, missingGateways, gateways }: ManagedSettingsFacts,
  generation: number | undefined,
): ConditionInput {
  const say = (
    reason: Parameters<typeof condition<'ManagedSettings', 'Accepted'>>[2],
    message: string,
  ): ConditionInput => condition('ManagedSettings', 'Accepted', reason, message, generation);
  if (problems.length > 0) return say('Invalid', problemsInWords(problems));
  if (gateways.length === 0)
    return say('GatewayNotFound', nobody(settings.metadata.namespace, missingGateways));
  const names = listed(gateways.map(({ name }) => name));
  if (missingGateways.length > 0)
    return say(
      'SomeGatewaysNotFound',
      `They are for ${names}; there is no ClaudeGateway ${listed(missingGateways)} in this namespace: create it, or remove it from spec.gatewayRefs.`,
    );
  if (warnings.length > 0)
    return say(
      'AcceptedWithWarnings',
      `They are for ${names}. Somebody should look at this: ${warnings.join('; ')}`,
    );
  return say('Accepted', `They are for ${names}.`);
}
