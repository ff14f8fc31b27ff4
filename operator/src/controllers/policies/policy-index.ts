import type { ClaudeGateway, ManagedSettings, SpendPolicy } from '@claude-gateway/crds';
import type { Informer } from '../../kube/informer.ts';
import { keyOf, type KubeObject } from '../../kube/objects.ts';
import { settingsConflicts, spendConflicts, type Conflict } from '../../policies/conflicts.ts';
import { select } from '../../policies/select.ts';
import type { PolicyResource } from './compiled.ts';

/** Index of the informers by this name: objects by namespace. */
export const BY_NAMESPACE = 'namespace';
export const byNamespace = {
  [BY_NAMESPACE]: ({ metadata }: PolicyResource | ClaudeGateway) => [metadata.namespace ?? ''],
};

/** What is asked of an informer here, so that a folder of manifests can take its place. */
export type Cache<T extends KubeObject> = Pick<Informer<T>, 'get' | 'list' | 'byIndex' | 'onChange'>;

export interface PolicyCaches {
  readonly gateways: Cache<ClaudeGateway>;
  readonly spendPolicies: Cache<SpendPolicy>;
  readonly managedSettings: Cache<ManagedSettings>;
}

/** How long changes are gathered before conflicts are looked for anew, in ms. */
const SETTLE_MS = 100;

/** Which policies are for which gateways, and which of them say something about the same. */
export class PolicyIndex {
  readonly #caches: PolicyCaches;
  readonly #onConflicts: (policy: PolicyResource) => void;
  readonly #conflicts = new Map<string, readonly Conflict[]>();
  readonly #stale = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** @param onConflicts told of every policy whose conflicts are others than before. */
  constructor(caches: PolicyCaches, onConflicts: (policy: PolicyResource) => void) {
    this.#caches = caches;
    this.#onConflicts = onConflicts;
    const { gateways, spendPolicies, managedSettings } = caches;
    const touch = (namespace: string | undefined): void => this.#touch(namespace ?? '');
    gateways.onChange((change, { metadata }, before) => {
      if (change !== 'modified' || before?.metadata.generation !== metadata.generation)
        touch(metadata.namespace);
    });
    for (const informer of [spendPolicies, managedSettings] as const)
      informer.onChange((change, { metadata }, before) => {
        if (change === 'deleted') this.#conflicts.delete(metadata.uid ?? '');
        if (change !== 'modified' || before?.metadata.generation !== metadata.generation)
          touch(metadata.namespace);
      });
  }

  /** The gateways that a policy is for, and the names that no gateway has. */
  selection(policy: PolicyResource): { selected: readonly ClaudeGateway[]; missing: readonly string[] } {
    return select(policy, this.#caches.gateways.byIndex(BY_NAMESPACE, policy.metadata.namespace ?? ''));
  }

  /** The keys of the gateways that a policy is for, whether they exist or not. */
  gatewayKeys(policy: PolicyResource): string[] {
    const { namespace = '' } = policy.metadata;
    const { gatewayRefs } = policy.spec;
    return gatewayRefs === undefined
      ? this.#caches.gateways.byIndex(BY_NAMESPACE, namespace).map(keyOf)
      : gatewayRefs.map(({ name }) => `${namespace}/${name}`);
  }

  /** The policies of both kinds that are for a gateway, those that are being deleted included. */
  policiesOf(gateway: ClaudeGateway): { spendPolicies: SpendPolicy[]; managedSettings: ManagedSettings[] } {
    const { name, namespace = '' } = gateway.metadata;
    const isFor = ({ spec: { gatewayRefs } }: PolicyResource): boolean =>
      gatewayRefs === undefined || gatewayRefs.some((ref) => ref.name === name);
    const { spendPolicies, managedSettings } = this.#caches;
    return {
      spendPolicies: spendPolicies.byIndex(BY_NAMESPACE, namespace).filter(isFor),
      managedSettings: managedSettings.byIndex(BY_NAMESPACE, namespace).filter(isFor),
    };
  }

  conflictsOf({ metadata: { uid = '' } }: PolicyResource): readonly Conflict[] {
    return this.#conflicts.get(uid) ?? [];
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #touch(namespace: string): void {
    this.#stale.add(namespace);
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const stale of this.#stale) this.#compare(stale);
      this.#stale.clear();
    }, SETTLE_MS);
  }

  #compare(namespace: string): void {
    const gateways = this.#caches.gateways.byIndex(BY_NAMESPACE, namespace);
    const live = ({ metadata }: PolicyResource): boolean => metadata.deletionTimestamp === undefined;
    const spendPolicies = this.#caches.spendPolicies.byIndex(BY_NAMESPACE, namespace).filter(live);
    const managedSettings = this.#caches.managedSettings.byIndex(BY_NAMESPACE, namespace).filter(live);
    this.#note(spendPolicies, spendConflicts(spendPolicies, gateways));
    this.#note(managedSettings, settingsConflicts(managedSettings, gateways));
  }

  #note(policies: readonly PolicyResource[], found: ReadonlyMap<string, readonly Conflict[]>): void {
    for (const policy of policies) {
      const { uid = '' } = policy.metadata;
      const conflicts = found.get(uid) ?? [];
      if (JSON.stringify(this.conflictsOf(policy)) === JSON.stringify(conflicts)) continue;
      if (conflicts.length === 0) this.#conflicts.delete(uid);
      else this.#conflicts.set(uid, conflicts);
      this.#onConflicts(policy);
    }
  }
}
