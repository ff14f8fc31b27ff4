import { isDeepStrictEqual } from 'node:util';
import type { ClaudeGateway, ManagedSettings, SpendPolicy } from '@claude-gateway/crds';
import type { Store } from '@claude-gateway/prisma';
import type { PolicyResource } from './controllers/policies/compiled.ts';
import { managedSettingsFacts, spendPolicyFacts } from './controllers/policies/facts.ts';
import { BY_NAMESPACE, byNamespace, PolicyIndex } from './controllers/policies/policy-index.ts';
import { PolicyReconciler } from './controllers/policies/policy-reconciler.ts';
import { subjectsOf } from './controllers/policies/subjects.ts';
import { RowsReconciler } from './controllers/policies/rows-reconciler.ts';
import {
  gatewaysReferring,
  type ChildInformer,
  type DataObject,
} from './controllers/claude-gateway/gather.ts';
import {
  BY_GATEWAY,
  gatewayOfPod,
  podFacts,
  PODS,
  POD_SELECTOR,
  slimPod,
  type PodObject,
} from './controllers/claude-gateway/pods.ts';
import { GatewayReconciler } from './controllers/claude-gateway/gateway-reconciler.ts';
import { Databases, type DatabaseTarget } from './controllers/databases.ts';
import { CLAUDE_GATEWAYS, FIELD_MANAGER, MANAGED_SETTINGS_TYPE, SPEND_POLICIES } from './kinds.ts';
import { MANAGED_BY, type Applier } from './kube/apply.ts';
import type { KubeClient } from './kube/client.ts';
import {
  changedBeyondStatus,
  children,
  Controller,
  source,
  type ControllerLog,
  type ControllerOptions,
  type Source,
} from './kube/controller.ts';
import { reasonOrError } from './kube/errors.ts';
import type { EventRecorder } from './kube/events.ts';
import { Informer, type InformerOptions } from './kube/informer.ts';
import { CONFIG_MAPS, keyOf, splitKey, type KubeObject, type ResourceType } from './kube/objects.ts';
import { OptionalInformer } from './kube/optional-informer.ts';
import type { ReconcileResult } from './kube/work-queue.ts';
import type { OperatorMetrics } from './metrics.ts';
import { NamespaceClaims } from './namespace-claims.ts';
import { CHILD_TYPES, OPTIONAL_CHILD_TYPES } from './resources/children.ts';
import { SECRETS } from './resources/types.ts';
import { managedSettingsStatus } from './status/managed-settings-status.ts';
import { spendPolicyStatus } from './status/spend-policy-status.ts';

export interface ScopeOptions {
  /** Absent: all namespaces. */
  readonly namespace: string | undefined;
  /** `namespace/name` of this operator, the same for all its replicas. */
  readonly identity: string;
  readonly client: KubeClient;
  readonly applier: Applier;
  readonly events: EventRecorder;
  readonly log: ControllerLog;
  readonly metrics: OperatorMetrics;
  readonly defaultImage: string;
  /** Connects to a database, and brings its schema up to date. */
  readonly openStore: (target: DatabaseTarget) => Promise<Store>;
  readonly now?: () => Date;
  /** How often databases are looked at when nothing happens, in ms. */
  readonly databaseInterval?: number | undefined;
}

/** Events are forgotten after an hour, and one that happens again within ten minutes has a count, in ms. */
const TELL_AGAIN_MS = 300_000;

/** Everything that is reconciled in one namespace, or in all of them. What a resource refers to is in its own namespace. */
export class Scope {
  readonly #informers: readonly { start(): Promise<void>; stop(): Promise<void> }[];
  readonly #caches: readonly { readonly type: ResourceType; list(): Iterable<KubeObject> }[];
  readonly #controllers: ReadonlyMap<string, Controller<KubeObject>>;
  readonly #databases: Databases;
  readonly #index: PolicyIndex;
  readonly #claims: NamespaceClaims;

  constructor(options: ScopeOptions) {
    const {
      namespace,
      client,
      applier,
      events,
      log,
      defaultImage,
      openStore,
      now = () => new Date(),
    } = options;
    const common = <T extends KubeObject>(type: ResourceType): InformerOptions<T> => ({
      client,
      type,
      namespace,
      onError: (error, retryIn) =>
        log.warn(
          { kind: type.kind, retry_in_ms: retryIn, ...reasonOrError(error) },
          `the watch of ${type.plural} broke; it goes on in ${retryIn} ms`,
        ),
    });
    const gateways = new Informer<ClaudeGateway>({ ...common(CLAUDE_GATEWAYS), indexes: byNamespace });
    const spendPolicies = new Informer<SpendPolicy>({ ...common(SPEND_POLICIES), indexes: byNamespace });
    const managedSettings = new Informer<ManagedSettings>({
      ...common(MANAGED_SETTINGS_TYPE),
      indexes: byNamespace,
    });
    const secrets = new Informer<DataObject>({ ...common(SECRETS), transform: withoutHelmReleases });
    const configMaps = new Informer<DataObject>(common(CONFIG_MAPS));
    const pods = new Informer<PodObject>({
      ...common(PODS),
      labelSelector: POD_SELECTOR,
      transform: slimPod,
      indexes: { [BY_GATEWAY]: gatewayOfPod },
    });
    const managed = { labelSelector: `${MANAGED_BY}=${FIELD_MANAGER}` };
    const optional = new Map<string, OptionalInformer<KubeObject>>();
    const childInformers = new Map<string, ChildInformer & { stop(): Promise<void> }>();
    for (const type of CHILD_TYPES) {
      if (type.plural === CONFIG_MAPS.plural) continue;
      if (!OPTIONAL_CHILD_TYPES.some(({ plural }) => plural === type.plural)) {
        childInformers.set(type.plural, new Informer<KubeObject>({ ...common(type), ...managed }));
        continue;
      }
      const onPresence = (): void => {
        for (const gateway of gateways.list()) enqueue('claude-gateway', keyOf(gateway));
      };
      const informer = new OptionalInformer<KubeObject>({ ...common(type), ...managed, onPresence });
      optional.set(type.plural, informer);
      childInformers.set(type.plural, informer);
    }

    const enqueue = (controller: string, key: string): void =>
      this.#controllers.get(controller)?.enqueue(key);
    const enqueuePolicy = (policy: PolicyResource): void =>
      enqueue(policy.kind === 'SpendPolicy' ? 'spend-policy' : 'managed-settings', keyOf(policy));
    const index = new PolicyIndex({ gateways, spendPolicies, managedSettings }, enqueuePolicy);
    this.#index = index;
    const claims = new NamespaceClaims({
      client,
      identity: options.identity,
      log,
      isOccupied: (name) =>
        [gateways, spendPolicies, managedSettings].some(
          (informer) => informer.byIndex(BY_NAMESPACE, name).length > 0,
        ),
      onChange: (name) => {
        for (const gateway of gateways.byIndex(BY_NAMESPACE, name)) {
          enqueue('claude-gateway', keyOf(gateway));
          enqueue('rows', keyOf(gateway));
        }
        for (const policy of spendPolicies.byIndex(BY_NAMESPACE, name)) enqueuePolicy(policy);
        for (const policy of managedSettings.byIndex(BY_NAMESPACE, name)) enqueuePolicy(policy);
      },
    });
    this.#claims = claims;
    /** Leaves a key alone where another operator works, and tells whoever looks at a gateway there. */
    const standBack = (key: string): ReconcileResult | void => {
      const gateway = gateways.get(key);
      const note = claims.standsBack(splitKey(key).namespace ?? '');
      if (gateway === undefined || note === undefined) return;
      events.record(CLAUDE_GATEWAYS, gateway, {
        type: 'Warning',
        reason: 'OtherOperator',
        action: 'StandBack',
        note: `${note}.`,
      });
      return { requeueAfter: TELL_AGAIN_MS };
    };
    const policiesOf = (keys: readonly string[]): PolicyResource[] =>
      keys.flatMap((key) => {
        const gateway = gateways.get(key);
        if (gateway === undefined) return [];
        const found = index.policiesOf(gateway);
        return [...found.spendPolicies, ...found.managedSettings];
      });
    const databases = new Databases({
      open: openStore,
      log,
      interval: options.databaseInterval,
      subjects: (keys) => subjectsOf(policiesOf(keys)),
      onChange: (keys, owners) => {
        for (const key of keys) {
          enqueue('claude-gateway', key);
          if (owners === 'all') enqueue('rows', key);
        }
        const known = owners === 'all' ? undefined : new Set(owners);
        for (const policy of policiesOf(keys))
          if (known === undefined || known.has(policy.metadata.uid ?? '')) enqueuePolicy(policy);
      },
    });
    this.#databases = databases;

    const rows = new RowsReconciler({ gateways, index, databases });
    const gatewayReconciler = new GatewayReconciler({
      informers: {
        gateways,
        secrets,
        configMaps,
        pods,
        children: childInformers,
        present: (plural) => optional.get(plural)?.present ?? true,
      },
      index,
      databases,
      client,
      applier,
      events,
      log,
      syncRows: (key) => rows.reconcile(key),
      defaultImage,
      now,
    });
    const policyParts = { index, databases, client, applier, events, now };
    const spendPolicy = new PolicyReconciler<SpendPolicy>({
      ...policyParts,
      informer: spendPolicies,
      statusOf: (facts, before, at) =>
        spendPolicyStatus(spendPolicyFacts(facts, index, databases), before, at),
    });
    const settings = new PolicyReconciler<ManagedSettings>({
      ...policyParts,
      informer: managedSettings,
      statusOf: (facts, before, at) =>
        managedSettingsStatus(managedSettingsFacts(facts, index, databases), before, at),
    });

    const neighboursOf = (gateway: ClaudeGateway): string[] => {
      const key = keyOf(gateway);
      const sameUrl = [...gateways.list()]
        .filter(({ spec }) => spec.publicURL === gateway.spec.publicURL)
        .map(keyOf);
      return [...new Set([...sameUrl, ...databases.sharing(key)])].filter((other) => other !== key);
    };
    const beyondStatus = { when: changedBeyondStatus };
    const referring = (kind: 'Secret' | 'ConfigMap') => (object: KubeObject) =>
      gatewaysReferring(gateways.list(), kind, object);
    // A gateway that comes, goes or is renamed concerns every policy that may be for it.
    const policiesOfGateway = (kind: PolicyResource['kind']) => (gateway: ClaudeGateway) => {
      const { spendPolicies: limits, managedSettings: documents } = index.policiesOf(gateway);
      return (kind === 'SpendPolicy' ? limits : documents).map(keyOf);
    };
    const onlyComingAndGoing = { when: () => false };
    const cameOrWent = {
      when: (gateway: ClaudeGateway, before: ClaudeGateway) =>
        gateway.metadata.deletionTimestamp !== before.metadata.deletionTimestamp,
    };
    const make = <T extends KubeObject>(
      name: string,
      primary: Informer<T>,
      reconcile: (key: string) => Promise<ReconcileResult | void>,
      more: Pick<ControllerOptions<T>, 'when' | 'secondary' | 'maxDelay'>,
    ): [string, Controller<KubeObject>] => [
      name,
      new Controller<T>({
        primary,
        reconcile: async (key) => {
          if (claims.holds(splitKey(key).namespace ?? '')) return reconcile(key);
          return name === 'claude-gateway' ? standBack(key) : undefined;
        },
        log,
        onReconciled: (_, duration, error) => options.metrics.reconciled(name, duration, error),
        ...more,
      }) as unknown as Controller<KubeObject>,
    ];
    this.#controllers = new Map([
      make('claude-gateway', gateways, (key) => gatewayReconciler.reconcile(key), {
        ...beyondStatus,
        maxDelay: 30_000,
        secondary: [
          // Of one address, or one database, both have to say so.
          source(gateways, (gateway) => neighboursOf(gateway), {
            when: (gateway, before) => changedBeyondStatus(gateway, before),
          }),
          ...[...childInformers.values()].map((informer) => children(informer, CLAUDE_GATEWAYS)),
          children(configMaps, CLAUDE_GATEWAYS),
          children(secrets, CLAUDE_GATEWAYS),
          podsOfGateways(pods),
          source(secrets, referring('Secret')),
          source(configMaps, referring('ConfigMap')),
          // How many there are is in the status. And no row may be judged while it is not known who wants it.
          source(spendPolicies, (policy) => index.gatewayKeys(policy), onlyComingAndGoing),
          source(managedSettings, (policy) => index.gatewayKeys(policy), onlyComingAndGoing),
        ],
      }),
      make('rows', gateways, (key) => rows.reconcile(key), {
        ...beyondStatus,
        maxDelay: 10_000,
        secondary: [
          source(spendPolicies, (policy) => index.gatewayKeys(policy), beyondStatus),
          source(managedSettings, (policy) => index.gatewayKeys(policy), beyondStatus),
        ],
      }),
      make('spend-policy', spendPolicies, (key) => spendPolicy.reconcile(key), {
        ...beyondStatus,
        maxDelay: 60_000,
        secondary: [source(gateways, policiesOfGateway('SpendPolicy'), cameOrWent)],
      }),
      make('managed-settings', managedSettings, (key) => settings.reconcile(key), {
        ...beyondStatus,
        maxDelay: 60_000,
        secondary: [source(gateways, policiesOfGateway('ManagedSettings'), cameOrWent)],
      }),
    ]);
    this.#caches = [
      gateways,
      spendPolicies,
      managedSettings,
      secrets,
      configMaps,
      pods,
      ...childInformers.values(),
    ];
    this.#informers = [
      gateways,
      spendPolicies,
      managedSettings,
      secrets,
      configMaps,
      pods,
      ...childInformers.values(),
    ];
  }

  /** Whether all caches are complete and reconciling has begun. */
  get synced(): boolean {
    return [...this.#controllers.values()].every(({ synced }) => synced);
  }

  /** Keys that wait, are worked on, or are due later, by controller. */
  *queues(): Iterable<readonly [string, number]> {
    for (const [name, { size }] of this.#controllers) yield [name, size];
  }

  /** Objects in the caches, by kind. */
  *caches(): Iterable<readonly [string, number]> {
    for (const { type, list } of this.#caches.map((cache) => ({
      type: cache.type,
      list: cache.list.bind(cache),
    })))
      yield [type.kind, [...list()].length];
  }

  /** @returns when reconciling has begun, or when stopped before. */
  async start(): Promise<void> {
    await Promise.all([...this.#controllers.values()].map((controller) => controller.start()));
  }

  /** Ends the work under way, and gives up what takes longer than `grace` ms. */
  async stop(grace: number): Promise<void> {
    await Promise.all([...this.#controllers.values()].map((controller) => controller.stop(grace)));
    await this.#claims.stop();
    this.#index.stop();
    await this.#databases.close();
    await Promise.all(this.#informers.map((informer) => informer.stop()));
  }
}

/** Reconciling does not wait for them: whoever may not watch pods loses what they say, and nothing else. */
function podsOfGateways(pods: Informer<PodObject>): Source {
  const changed = (pod: PodObject, before: PodObject): boolean =>
    !isDeepStrictEqual(podFacts(pod), podFacts(before));
  return {
    ...source(pods, gatewayOfPod, { when: changed }),
    start: () => {
      void pods.start();
      return Promise.resolve();
    },
    synced: () => true,
  };
}

/** Helm keeps whole releases in Secrets: a megabyte each that nobody refers to. */
function withoutHelmReleases(secret: DataObject): DataObject {
  if (secret.type !== 'helm.sh/release.v1') return secret;
  return { ...secret, data: {} };
}
