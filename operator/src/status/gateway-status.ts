import type { ClaudeGatewayStatus } from '@claude-gateway/crds';
import { isTrue, mergeConditions, type Condition, type ConditionInput } from '../kube/conditions.ts';
import type { DeploymentFacts, GatewayFacts } from './facts.ts';
import { progressConditions, PROGRESS_TYPES } from './progress.ts';
import { condition, type Reason } from './reasons.ts';
import { refusalsInWords } from './refusals.ts';
import { counted, problemsInWords, referencesInWords } from './words.ts';

/** What a gateway says of itself. */
export function gatewayStatus(
  facts: GatewayFacts,
  before: readonly Condition[],
  now: Date,
): ClaudeGatewayStatus {
  const { gateway, deployment, database, signingKeys } = facts;
  const { generation } = gateway.metadata;
  const accepted = acceptedCondition(facts, generation);
  const ready = readyCondition(facts, accepted, before, generation);
  const { revision, replicas } = database;
  const versions = [...new Set(replicas.flatMap(({ version }) => version ?? []))].sort();
  const lowest = replicas.reduce<bigint | undefined>(
    (least, { policyRevision }) => (least === undefined || policyRevision < least ? policyRevision : least),
    undefined,
  );
  return {
    ...(generation !== undefined && { observedGeneration: generation }),
    conditions: [
      ...mergeConditions(
        before,
        [accepted, ready, ...progressConditions('ClaudeGateway', [accepted, ready])],
        now,
        PROGRESS_TYPES,
      ),
    ],
    replicas: deployment?.replicas ?? 0,
    readyReplicas: deployment?.readyReplicas ?? 0,
    updatedReplicas: deployment?.updatedReplicas ?? 0,
    selector: facts.selector,
    url: gateway.spec.publicURL,
    ...(versions.length > 0 && { version: versions.join(', ').slice(0, 128) }),
    ...(revision !== undefined && { policyRevision: Number(revision) }),
    ...(lowest !== undefined && { enforcedRevision: Number(lowest) }),
    spendPolicies: facts.spendPolicies,
    managedSettings: facts.managedSettings,
    ...(signingKeys !== undefined && {
      signingKeys: {
        secretName: signingKeys.secretName,
        rotatedAt: seconds(signingKeys.rotatedAt),
        rotatesAt: seconds(signingKeys.rotatesAt),
      },
    }),
  };
}

function acceptedCondition(
  { gateway, missing, problems, foreign, refused, shared = [] }: GatewayFacts,
  generation: number | undefined,
): ConditionInput {
  const say = (reason: Reason<'ClaudeGateway', 'Accepted'>, message: string): ConditionInput =>
    condition('ClaudeGateway', 'Accepted', reason, message, generation);
  if (missing.length > 0) return say('ReferenceNotFound', referencesInWords(missing));
  if (problems.length > 0) return say('Invalid', problemsInWords(problems));
  if (foreign !== undefined) return say('NameTaken', foreign);
  if (refused.length > 0) return say('ChildRefused', refusalsInWords(refused));
  const { ingress, httpRoute, listen } = gateway.spec;
  const route =
    ingress !== undefined ? 'spec.ingress' : httpRoute !== undefined ? 'spec.httpRoute' : undefined;
  if (route !== undefined && (listen.trustedProxies ?? []).length === 0) {
    return say(
      'NoTrustedProxies',
      `The configuration makes sense, but ${route} puts a proxy in front, and spec.listen.trustedProxies does not name it: all ` +
        'clients have its address, so that limits by address and accessControl take everybody for one client, and the ' +
        "sign-in page cannot tell whether a request comes from the person's own network. Name the addresses from which the " +
        "pods of the ingress controller, or the load balancer, connect: often the network of the cluster's pods.",
    );
  }
  return say('Accepted', ['The configuration makes sense.', ...shared].join(' '));
}

function readyCondition(
  facts: GatewayFacts,
  accepted: ConditionInput,
  before: readonly Condition[],
  generation: number | undefined,
): ConditionInput {
  const say = (reason: Reason<'ClaudeGateway', 'Ready'>, message: string): ConditionInput =>
    condition('ClaudeGateway', 'Ready', reason, message, generation);
  const { gateway, deployment, database, selector } = facts;
  const describePods = `kubectl describe pods --namespace ${gateway.metadata.namespace ?? ''} --selector ${selector}`;
  if (deployment === undefined) {
    if (accepted.status !== 'True')
      return say('NotAccepted', 'There are no pods, since the spec is not accepted.');
    if (database.problem !== undefined)
      return say(
        'DatabaseUnavailable',
        `Pods are made once the database is migrated, and it does not answer: ${database.problem}`,
      );
    return say('RolloutInProgress', 'The pods are about to be made.');
  }
  const pods = `${deployment.readyReplicas} of ${counted(deployment.desired, 'pod')} ${deployment.desired === 1 ? 'is' : 'are'} ready`;
  if (deployment.desired === 0) return say('Paused', 'No pod is wanted: spec.replicas is 0.');
  const current = deployment.observedGeneration >= deployment.generation;
  // What an autoscaler adds beyond its least is on its way, and not missing.
  const needed = Math.min(deployment.desired, gateway.spec.autoscaling?.minReplicas ?? Infinity);
  const enough = deployment.readyReplicas >= needed;
  if (accepted.status !== 'True' && enough)
    return say('LastAccepted', `${pods}, with the last spec that was accepted.`);
  if (database.problem !== undefined && enough)
    return say(
      'DatabaseUnreachable',
      `${pods}, but the operator cannot reach their database: ${database.problem}`,
    );
  const updated = deployment.updatedReplicas >= needed && deployment.replicas === deployment.updatedReplicas;
  if (current && enough && updated) return say('Ready', `${pods}.`);
  const failed = failureOf(deployment);
  const troubles = [...new Set(facts.pods.flatMap(({ problem }) => problem ?? []))];
  const why = [...(failed === undefined ? [] : [failed.message]), ...troubles].join('; ');
  if (enough && why !== '')
    return say(
      'RolloutStuck',
      `${pods} and serve on, but pods of the present version do not start: ${why}. Correct the spec, or what they need; ${describePods}`,
    );
  if (failed !== undefined) return say(failed.reason, `${pods}. ${why}`);
  // It serves as well as before while pods are replaced one after the other.
  if (enough && isTrue(before, 'Ready'))
    return say('PodsStarting', `${pods}; ${deployment.updatedReplicas} of them run the present version.`);
  if (troubles.length > 0) return say('NotEnoughReplicas', `${pods}: ${why}. See ${describePods}`);
  if (deployment.readyReplicas > 0 && isTrue(before, 'Ready'))
    return say('PodsStarting', `${pods}; the others are starting.`);
  return say('RolloutInProgress', `${pods}; ${deployment.updatedReplicas} of them run the present version.`);
}

/** What the Deployment itself says has gone wrong. */
function failureOf({
  conditions,
}: DeploymentFacts): { reason: Reason<'ClaudeGateway', 'Ready'>; message: string } | undefined {
  const failure = conditions.find(({ type, status }) => type === 'ReplicaFailure' && status === 'True');
  if (failure !== undefined) {
    const { reason } = failure;
    const known = reason === 'FailedCreate' || reason === 'FailedDelete' ? reason : 'DeploymentFailed';
    return { reason: known, message: withoutPodNames(failure.message ?? '') };
  }
  const stuck = conditions.find(
    ({ type, status, reason }) =>
      type === 'Progressing' && status === 'False' && reason === 'ProgressDeadlineExceeded',
  );
  return stuck && { reason: 'ProgressDeadlineExceeded', message: stuck.message ?? '' };
}

/** Each try is for a pod of another name, and the condition is to stay the same. */
function withoutPodNames(message: string): string {
  return message.replace(/(pods "[-.a-z0-9]*-)[bcdfghjklmnpqrstvwxz2456789]{5}"/g, '$1…"');
}

const seconds = (time: Date): string => time.toISOString().replace(/\.\d+Z$/, 'Z');
