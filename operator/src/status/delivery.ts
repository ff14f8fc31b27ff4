import type { ConditionInput } from '../kube/conditions.ts';
import type { OnGateway, PolicyFacts } from './facts.ts';
import { condition, type ConditionType } from './reasons.ts';
import { counted, listed } from './words.ts';

/** As many as the schema allows in `status.gateways`. */
export const MOST_GATEWAYS = 1000;

type PolicyKind = 'SpendPolicy' | 'ManagedSettings';

/** Pods of a gateway that run the revision that has the policy, or a later one. */
export function upToDate({ revision, replicas }: OnGateway): number {
  return revision === undefined
    ? 0
    : replicas.filter(({ policyRevision }) => policyRevision >= revision).length;
}

/** `Enforced` or `Delivered`: whether every pod of every gateway runs it. */
export function deliveryCondition<K extends PolicyKind>(
  kind: K,
  type: ConditionType<K>,
  { problems, gateways }: PolicyFacts,
  generation: number | undefined,
): ConditionInput {
  const say = (reason: string, message: string): ConditionInput =>
    condition(kind, type, reason as never, message, generation);
  if (problems.length > 0) {
    const before = gateways.some(({ revision }) => revision !== undefined);
    return say(
      'NotAccepted',
      before
        ? 'The last version that made sense stays in force, until this one is mended.'
        : 'Nothing is in force, since the policy is not accepted.',
    );
  }
  if (gateways.length === 0)
    return say('NotAccepted', 'Nothing is in force, since there is no gateway that it is for.');
  const refused = gateways.filter(({ notAccepted }) => notAccepted).map(({ name }) => name);
  if (refused.length > 0) {
    return say(
      'GatewayNotAccepted',
      `Nothing is in force on ${listed(refused)}: the gateway itself is not accepted, see its conditions.`,
    );
  }
  const away = gateways.filter(({ problem }) => problem !== undefined);
  if (away.length > 0) {
    const each = away.map(({ name, problem }) => `${name}: ${problem}`);
    return say(
      'DatabaseUnavailable',
      `The database cannot be used, so it is not known who runs it. ${each.join('; ')}`,
    );
  }
  const silent = gateways.flatMap(({ silent: names }) => names);
  if (silent.length > 0)
    return say(
      'ReplicasSilent',
      `${counted(silent.length, 'pod')} ${silent.length === 1 ? 'is' : 'are'} ready, and the database has not heard of ${silent.length === 1 ? 'it' : 'them'} for some seconds: ${listed(silent)}. ` +
        'What they know of policies may be old. See their logs, and whether they reach the database.',
    );
  const progress = gateways.map((gateway) => {
    const where = gateways.length === 1 ? '' : ` of ${gateway.name}`;
    const revision = gateway.revision === undefined ? 'this version' : `revision ${gateway.revision}`;
    return `${upToDate(gateway)} of ${counted(gateway.replicas.length, 'replica')}${where} ${gateway.replicas.length === 1 ? 'runs' : 'run'} ${revision}`;
  });
  if (
    gateways.some((gateway) => gateway.revision === undefined || upToDate(gateway) < gateway.replicas.length)
  )
    return say('Progressing', `${listed(progress)}.`);
  const idle = gateways.filter(({ replicas }) => replicas.length === 0);
  if (idle.length === gateways.length)
    return say(
      'NoReplicas',
      `No replica of ${listed(idle.map(({ name }) => name))} is up; the next one begins with it.`,
    );
  return say('AllReplicas', `${listed(progress)}.`);
}
