import { createHash } from 'node:crypto';
import type { ManagedSettings, SpendPolicy } from '@claude-gateway/crds';
import type {
  ManagedSettingsFacts,
  PolicyFacts as CommonFacts,
  SpendPolicyFacts,
} from '../../status/facts.ts';
import type { Databases } from '../databases.ts';
import { canonicalJson } from './compiled.ts';
import type { PolicyIndex } from './policy-index.ts';
import type { Gathered } from './gather.ts';

/** What the status of a spend policy is made from. */
export function spendPolicyFacts(
  gathered: Gathered<SpendPolicy>,
  index: PolicyIndex,
  databases: Databases,
): SpendPolicyFacts {
  const { policy, compiled, gatewayKeys } = gathered;
  const { uid = '' } = policy.metadata;
  const { kind, name = '' } = policy.spec.subject;
  const subject = kind === 'Group' ? { group: name } : kind === 'User' ? { user: name } : undefined;
  return {
    policy,
    ...commonFacts(gathered, index),
    warnings: compiled.warnings,
    limits: compiled.rows?.limits ?? [],
    spending: gatewayKeys.flatMap((key) =>
      (databases.of(key)?.spendingOf(uid) ?? []).map((one) => ({ ...one, gateway: nameOf(key) })),
    ),
    seen: subject === undefined ? true : anyOf(gatewayKeys.map((key) => databases.of(key)?.hasSeen(subject))),
  };
}

/** What the status of managed settings is made from. */
export function managedSettingsFacts(
  gathered: Gathered<ManagedSettings>,
  index: PolicyIndex,
  databases: Databases,
): ManagedSettingsFacts {
  const { policy, compiled, gatewayKeys } = gathered;
  const { uid = '' } = policy.metadata;
  const { settings } = policy.spec;
  // Gateways that share a database have the same clients.
  const open = new Set(
    gatewayKeys.map((key) => databases.of(key)).filter((database) => database !== undefined),
  );
  const clients = [...open].map((database) => database.clientsOf(uid));
  return {
    settings: policy,
    ...commonFacts(gathered, index),
    warnings: compiled.warnings,
    clients:
      clients.length === 0
        ? undefined
        : {
            current: clients.reduce((sum, { current }) => sum + current, 0),
            stale: clients.reduce((sum, { stale }) => sum + stale, 0),
          },
    checksum:
      settings === undefined
        ? undefined
        : `sha256:${createHash('sha256').update(canonicalJson(settings)).digest('hex')}`,
  };
}

function commonFacts(
  { policy, compiled, missingGateways, gateways }: Gathered<SpendPolicy> | Gathered<ManagedSettings>,
  index: PolicyIndex,
): CommonFacts {
  return { problems: compiled.problems, missingGateways, gateways, conflicts: index.conflictsOf(policy) };
}

/** True when one is, undefined when none is and it is not known of all. */
function anyOf(answers: readonly (boolean | undefined)[]): boolean | undefined {
  if (answers.includes(true)) return true;
  return answers.length === 0 || answers.includes(undefined) ? undefined : false;
}

const nameOf = (key: string): string => key.slice(key.indexOf('/') + 1);
