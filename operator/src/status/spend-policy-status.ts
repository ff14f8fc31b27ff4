import type { SpendPolicyLimitStatus, SpendPolicyStatus } from '@claude-gateway/crds';
import type { LimitContent } from '@claude-gateway/prisma';
import { mergeConditions, type Condition, type ConditionInput } from '../kube/conditions.ts';
import { amountText, centsText, percentOf, unitText } from './amounts.ts';
import { deliveryCondition, MOST_GATEWAYS, upToDate } from './delivery.ts';
import type { SpendPolicyFacts } from './facts.ts';
import { limitsShown, type ShownLimit } from './limits-shown.ts';
import { policyReady, progressConditions, PROGRESS_TYPES } from './progress.ts';
import { condition } from './reasons.ts';
import { conflictsOf, listed, problemsInWords } from './words.ts';
import { zonedTime } from './zoned-time.ts';

const PERIODS = { daily: 'Daily', weekly: 'Weekly', monthly: 'Monthly' } as const;
const SHARING = { per_member: 'PerMember', pooled: 'Pooled' } as const;
const UNITS = { nano_usd: 'USD', tokens: 'Tokens', tokens_with_cache_reads: 'TokensWithCacheReads' } as const;
/** As many as the schema allows. */
const MOST_LIMITS = 1152;

/** What a spend policy says of itself. */
export function spendPolicyStatus(
  facts: SpendPolicyFacts,
  before: readonly Condition[],
  now: Date,
): SpendPolicyStatus {
  const { policy, gateways, conflicts } = facts;
  const { generation } = policy.metadata;
  const accepted = acceptedCondition(facts, generation);
  const delivered = deliveryCondition('SpendPolicy', 'Enforced', facts, generation);
  const inputs = [
    accepted,
    delivered,
    policyReady(accepted, delivered),
    ...progressConditions('SpendPolicy', [accepted, delivered]),
  ];
  const limits = limitsShown(facts);
  const [nearest] = limits;
  return {
    ...(generation !== undefined && { observedGeneration: generation }),
    conditions: [...mergeConditions(before, inputs, now, PROGRESS_TYPES)],
    ...(limits.length > 0 && {
      limits: limits.slice(0, MOST_LIMITS).map((one) => limitStatus(one, gateways.length > 1)),
    }),
    ...(nearest !== undefined && { nearest: nearestStatus(nearest) }),
    gateways: gateways.slice(0, MOST_GATEWAYS).map((gateway) => ({
      name: gateway.name,
      ...(gateway.revision !== undefined && { revision: Number(gateway.revision) }),
      replicas: gateway.replicas.length,
      enforcedReplicas: upToDate(gateway),
    })),
    ...(conflicts.length > 0 && { conflicts: conflictsOf(conflicts) }),
  };
}

function acceptedCondition(
  { policy, problems, warnings = [], missingGateways, gateways, seen }: SpendPolicyFacts,
  generation: number | undefined,
): ConditionInput {
  const say = (
    reason: Parameters<typeof condition<'SpendPolicy', 'Accepted'>>[2],
    message: string,
  ): ConditionInput => condition('SpendPolicy', 'Accepted', reason, message, generation);
  if (problems.length > 0) return say('Invalid', problemsInWords(problems));
  if (gateways.length === 0)
    return say('GatewayNotFound', nobody(policy.metadata.namespace, missingGateways));
  const names = listed(gateways.map(({ name }) => name));
  if (missingGateways.length > 0)
    return say(
      'SomeGatewaysNotFound',
      `It is for ${names}; there is no ClaudeGateway ${listed(missingGateways)} in this namespace: create it, or remove it from spec.gatewayRefs.`,
    );
  const { kind, name = '' } = policy.spec.subject;
  if (seen === false)
    return say(
      'SubjectNotSeen',
      kind === 'Group'
        ? `It is for ${names}, but nobody of group ${name} has been seen: check the spelling of spec.subject.name, or wait until somebody signs in.`
        : `It is for ${names}, but user ${name} has not been seen: check spec.subject.name (an email address, or a subject), or wait until they sign in.`,
    );
  return say('Accepted', [`It is for ${names}.`, ...warnings.map((warning) => `${warning}.`)].join(' '));
}

/** Why a policy is for no gateway at all. */
export function nobody(namespace: string | undefined, missing: readonly string[]): string {
  return missing.length > 0
    ? `There is no ClaudeGateway ${listed(missing)} in namespace ${namespace ?? ''}: create it, or correct spec.gatewayRefs.`
    : `There is no ClaudeGateway in namespace ${namespace ?? ''}: create one, or move this resource to the namespace of one.`;
}

function limitStatus(
  { content, gateway, spending }: ShownLimit,
  severalGateways: boolean,
): SpendPolicyLimitStatus {
  const { amount, unit } = content;
  return {
    ...(severalGateways && { gateway }),
    period: PERIODS[content.period],
    sharing: SHARING[content.sharing],
    unit: UNITS[unit],
    ...(amount !== null && { limit: amountText(amount, unit) }),
    ...(spending !== undefined && {
      spent: amountText(spending.spent, unit),
      held: amountText(spending.held, unit),
      ...(amount !== null && { utilizationPercent: percentOf(spending.spent, amount) }),
      resetsAt: zonedTime(spending.resetsAt, content.timeZone),
      ...(countsMembers(content) && {
        members: spending.members,
        blockedMembers: spending.blockedMembers,
      }),
    }),
  };
}

const countsMembers = ({ sharing, scope }: LimitContent): boolean =>
  sharing === 'per_member' && scope.type !== 'user';

function nearestStatus({ content, spending }: ShownLimit): NonNullable<SpendPolicyStatus['nearest']> {
  const { amount, unit, period, timeZone } = content;
  const limit = amount === null ? 'unlimited' : amountText(amount, unit);
  return {
    limit: `${limit} ${unitText(unit)} ${period}`,
    ...(spending !== undefined && {
      spent: `${centsText(spending.spent, unit)} ${unitText(unit)}`,
      ...(amount !== null && { utilizationPercent: percentOf(spending.spent, amount) }),
      resetsAt: zonedTime(spending.resetsAt, timeZone),
    }),
  };
}
