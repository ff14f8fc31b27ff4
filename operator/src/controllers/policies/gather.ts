import { keyOf } from '../../kube/objects.ts';
import type { OnGateway } from '../../status/facts.ts';
import type { Databases } from '../databases.ts';
import { compilePolicy, type CompiledPolicy, type PolicyResource } from './compiled.ts';
import type { PolicyIndex } from './policy-index.ts';

/** What was found out about a policy of either kind. */
export interface Gathered<T extends PolicyResource> {
  readonly policy: T;
  readonly compiled: CompiledPolicy;
  readonly missingGateways: readonly string[];
  readonly gateways: readonly OnGateway[];
  /** Their keys, in the same order. */
  readonly gatewayKeys: readonly string[];
}

/** @param databases An earlier revision that the status names is adopted: it need not change after a restart of the operator. */
export function gather<T extends PolicyResource>(
  policy: T,
  index: PolicyIndex,
  databases: Databases,
): Gathered<T> {
  const compiled = compilePolicy(policy);
  const { selected, missing } = index.selection(policy);
  const live = selected.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const { uid = '', generation } = policy.metadata;
  const said = policy.status?.observedGeneration === generation ? (policy.status?.gateways ?? []) : [];
  return {
    policy,
    compiled,
    missingGateways: missing,
    gatewayKeys: live.map(keyOf),
    gateways: live.map((gateway) => {
      const key = keyOf(gateway);
      const { name } = gateway.metadata;
      const database = databases.of(key);
      const earlier = said.find((one) => one.name === name)?.revision;
      if (earlier !== undefined) database?.adoptRevision(uid, BigInt(earlier));
      return {
        name,
        revision: database?.revisionOf(uid, compiled.fingerprint),
        replicas: database?.replicas ?? [],
        silent: database?.silentPods(key) ?? [],
        notAccepted: databases.isNotAccepted(key),
        problem: databases.problemOf(key),
      };
    }),
  };
}
