import { randomBytes } from 'node:crypto';
import { durationMs, type ClaudeGateway } from '@claude-gateway/crds';
import type { GatewayConfig } from '@claude-gateway/contract';
import { ForeignObjectError, type Applied, type Applier } from '../../kube/apply.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { ControllerLog } from '../../kube/controller.ts';
import type { EventInput, EventRecorder } from '../../kube/events.ts';
import { isKubeError } from '../../kube/errors.ts';
import { removeFinalizer } from '../../kube/finalizers.ts';
import { keyOf, type KubeObject, type ResourceType } from '../../kube/objects.ts';
import type { ReconcileResult } from '../../kube/work-queue.ts';
import { CLAUDE_GATEWAYS, FORMER_FINALIZER } from '../../kinds.ts';
import { checkConfig, type ConfigFieldProblem } from '../../render/check-config.ts';
import { renderConfig, type RenderedConfig } from '../../render/gateway-config.ts';
import { referencesOf, unresolved, type Reference, type Resolved } from '../../render/references.ts';
import { restartHash } from '../../render/restart-hash.ts';
import { selectorOf } from '../../resources/child.ts';
import { CHILD_TYPES, childrenOf, PREREQUISITES } from '../../resources/children.ts';
import { imageOf } from '../../resources/image.ts';
import { replicasHandover, REPLICAS_MANAGER } from '../../resources/replicas.ts';
import {
  nextSigningKeys,
  signingKeysName,
  signingKeysSecret,
  type SecretObject,
  type SigningKeys,
} from '../../resources/signing-keys.ts';
import { DEPLOYMENTS, SECRETS } from '../../resources/types.ts';
import type { DeploymentFacts, GatewayFacts, RefusedChild } from '../../status/facts.ts';
import { gatewayStatus } from '../../status/gateway-status.ts';
import { transitions } from '../../status/transitions.ts';
import type { Databases, DatabaseTarget } from '../databases.ts';
import type { PolicyIndex } from '../policies/policy-index.ts';
import { childInformer, resolver, type DeploymentObject, type GatewayInformers } from './gather.ts';
import { BY_GATEWAY, podFacts } from './pods.ts';
import { refusalOf } from './refusal.ts';

export interface GatewayReconcilerOptions {
  readonly informers: GatewayInformers;
  readonly index: PolicyIndex;
  readonly databases: Databases;
  readonly client: KubeClient;
  readonly applier: Applier;
  readonly events: EventRecorder;
  readonly log: ControllerLog;
  /** Makes the rows in the database of a gateway what they should be. */
  readonly syncRows: (key: string) => Promise<void>;
  /** The image of the gateways that name none. */
  readonly defaultImage: string;
  readonly now: () => Date;
}

/** What the children are made from, or why they cannot be. */
interface Plan {
  readonly problems: readonly ConfigFieldProblem[];
  readonly missing: readonly Reference[];
  readonly good:
    | { readonly rendered: RenderedConfig; readonly config: GatewayConfig; readonly restartHash: string }
    | undefined;
}

/** For how long it is tried to clear the database of a gateway that is gone, in ms. */
const CLEARING_MS = 60_000;
/** When a gateway is looked at although nothing has happened, in ms. */
const RESYNC_MS = 60_000;
const FOREIGN_RESYNC_MS = 5_000;
/** When a child that was refused is tried again: quotas and policies of the cluster change without a word, in ms. */
const REFUSED_RESYNC_MS = 20_000;

/** Makes the children of a ClaudeGateway, and its database, what its spec says. */
export class GatewayReconciler {
  readonly #options: GatewayReconcilerOptions;
  /** Gateways that are gone and whose databases are not cleared yet: since when, in ms. */
  readonly #goneSince = new Map<string, number>();
  /** Of the gateways there are, by key. */
  readonly #uids = new Map<string, string>();

  constructor(options: GatewayReconcilerOptions) {
    this.#options = options;
  }

  /** @throws KubeError, StoreUnavailableError */
  async reconcile(key: string): Promise<ReconcileResult | void> {
    const { informers, client, databases, applier } = this.#options;
    const gateway = informers.gateways.get(key);
    if (gateway !== undefined) await removeFinalizer(client, CLAUDE_GATEWAYS, gateway, FORMER_FINALIZER);
    if (gateway === undefined || gateway.metadata.deletionTimestamp !== undefined) {
      applier.forget(this.#uids.get(key) ?? '');
      this.#uids.delete(key);
      return this.#leave(key);
    }
    this.#goneSince.delete(key);
    this.#uids.set(key, gateway.metadata.uid ?? '');

    let foreign: string | undefined;
    let signingKeys: SigningKeys | undefined;
    let deployment: DeploymentObject | undefined;
    let plan: Plan = { problems: [], missing: [], good: undefined };
    const refused: RefusedChild[] = [];
    try {
      signingKeys = await this.#ensureSigningKeys(gateway, refused);
      plan = this.#plan(gateway, signingKeys);
      if (plan.good !== undefined) {
        const migrated = await this.#attach(key, plan.good.config);
        deployment = await this.#applyChildren(gateway, plan.good, migrated, refused);
      } else if (databases.of(key) === undefined) {
        // Where it runs with an earlier spec, its policies are enforced all the same.
        databases.setNotAccepted(key);
      }
    } catch (error) {
      if (!(error instanceof ForeignObjectError)) throw error;
      foreign = error.message;
    }
    deployment ??= childInformer(informers, DEPLOYMENTS).get(key);
    await this.#report(applier.withLatestStatus(gateway), {
      ...plan,
      foreign,
      refused,
      signingKeys,
      deployment,
    });

    const rotation =
      signingKeys === undefined ? Infinity : signingKeys.rotatesAt.getTime() - this.#options.now().getTime();
    // Nobody tells when an object that is in the way goes: it carries none of our labels.
    const resync =
      foreign !== undefined ? FOREIGN_RESYNC_MS : refused.length > 0 ? REFUSED_RESYNC_MS : RESYNC_MS;
    return { requeueAfter: Math.min(resync, Math.max(rotation, 1000)) };
  }

  async #ensureSigningKeys(
    gateway: ClaudeGateway,
    refused: RefusedChild[],
  ): Promise<SigningKeys | undefined> {
    const { applier } = this.#options;
    const existing = await this.#signingKeysSecret(gateway);
    const keys = this.#signingKeys(gateway, existing);
    if (keys === undefined) return undefined;
    try {
      await applier.apply(SECRETS, signingKeysSecret(gateway, keys), existing);
    } catch (error) {
      refused.push(refusalOf(error, SECRETS, signingKeysName(gateway)));
    }
    return keys;
  }

  /** A cache that has not heard of the Secret yet must not lead to other keys: those it has are in use. */
  async #signingKeysSecret(gateway: ClaudeGateway): Promise<SecretObject | undefined> {
    const { informers, client } = this.#options;
    if (gateway.spec.session.signingKeys.generated === undefined) return undefined;
    const { namespace = '' } = gateway.metadata;
    const name = signingKeysName(gateway);
    const cached = informers.secrets.get(`${namespace}/${name}`);
    if (cached !== undefined) return cached;
    try {
      return await client.get<SecretObject>(SECRETS, namespace, name);
    } catch (error) {
      if (isKubeError(error, 'notFound')) return undefined;
      throw error;
    }
  }

  /** The keys that are due now, without writing anything. */
  #signingKeys(gateway: ClaudeGateway, existing: SecretObject | undefined): SigningKeys | undefined {
    const { session, workloadIdentity = [] } = gateway.spec;
    const { generated } = session.signingKeys;
    if (generated === undefined) return undefined;
    return nextSigningKeys(existing, {
      rotateEveryMs: durationMs(generated.rotateEvery),
      longestTokenMs: Math.max(
        durationMs(session.ttl),
        ...workloadIdentity.map(({ tokenTTL }) => durationMs(tokenTTL)),
      ),
      now: this.#options.now(),
      randomBytes,
    });
  }

  /** Renders and checks, without writing anything. */
  #plan(gateway: ClaudeGateway, signingKeys: SigningKeys | undefined): Plan {
    const resolved = this.#resolved(gateway, signingKeys);
    const missing = unresolved(referencesOf(gateway), resolved);
    if (missing.length > 0) return { problems: [], missing, good: undefined };
    const rendered = renderConfig(
      gateway,
      signingKeys && {
        secretName: signingKeysName(gateway),
        keys: signingKeys.order,
      },
    );
    const { problems, config } = checkConfig(rendered, resolved);
    if (config === undefined || problems.length > 0) return { problems, missing: [], good: undefined };
    return {
      problems: [],
      missing: [],
      good: {
        rendered,
        config,
        restartHash: restartHash(config, rendered, resolved, gateway.metadata.uid ?? ''),
      },
    };
  }

  /** References as the caches have them, and the keys that were just made. */
  #resolved(gateway: ClaudeGateway, signingKeys: SigningKeys | undefined): Resolved {
    const resolved = resolver(this.#options.informers, gateway);
    const secret = signingKeysName(gateway);
    return (kind, name, key) =>
      (kind === 'Secret' && name === secret ? signingKeys?.data[key] : undefined) ??
      resolved(kind, name, key);
  }

  /** @returns whether the database is there, and has this version's schema. */
  async #attach(key: string, config: GatewayConfig): Promise<boolean> {
    const { databases, log } = this.#options;
    const before = databases.of(key);
    try {
      const database = await databases.attach(key, targetOf(config));
      if (database !== before) await this.#options.syncRows(key);
      return true;
    } catch (error) {
      log.warn(
        { gateway: key },
        `the database of gateway ${key} cannot be used: ${(error as Error).message}`,
      );
      return false;
    }
  }

  /**
   * @param migrated without it new pods could not start, so the Deployment stays as it is.
   * @param refused gets what the API server refuses; the Deployment waits for what its pods need.
   */
  async #applyChildren(
    gateway: ClaudeGateway,
    { rendered, restartHash: hash }: NonNullable<Plan['good']>,
    migrated: boolean,
    refused: RefusedChild[],
  ): Promise<DeploymentObject | undefined> {
    const { informers, client, applier, defaultImage, events } = this.#options;
    const present = (plural: string): boolean => informers.present(plural);
    const wanted = childrenOf({
      gateway,
      rendered,
      restartHash: hash,
      image: imageOf(gateway, defaultImage),
      kinds: { httpRoute: present('httproutes'), serviceMonitor: present('servicemonitors') },
    });
    let deployment: DeploymentObject | undefined;
    for (const { type, object } of wanted) {
      const isHeldUp = !migrated || refused.some(({ kind }) => PREREQUISITES.has(kind));
      if (type === DEPLOYMENTS && isHeldUp) continue;
      const cached = childInformer(informers, type).get(keyOf(object));
      const handover = type === DEPLOYMENTS ? replicasHandover(gateway, cached) : undefined;
      if (handover !== undefined) await client.apply(DEPLOYMENTS, handover, REPLICAS_MANAGER);
      let applied: Applied<KubeObject>;
      try {
        applied = await applier.apply(type, object, cached);
      } catch (error) {
        refused.push(refusalOf(error, type, object.metadata.name));
        continue;
      }
      if (type === DEPLOYMENTS) deployment = applied.object;
      if (applied.outcome === 'created' || applied.outcome === 'changed')
        events.record(CLAUDE_GATEWAYS, gateway, eventOf(applied.outcome, type, object, applied.why));
    }
    for (const type of CHILD_TYPES) {
      const names = new Set(
        wanted.filter((child) => child.type.plural === type.plural).map(({ object }) => object.metadata.name),
      );
      for (const child of await applier.prune(type, gateway, childInformer(informers, type).list(), names))
        events.record(CLAUDE_GATEWAYS, gateway, eventOf('deleted', type, child));
    }
    return deployment;
  }

  async #report(
    gateway: ClaudeGateway,
    made: Plan & {
      readonly foreign: string | undefined;
      readonly refused: readonly RefusedChild[];
      readonly signingKeys: SigningKeys | undefined;
      readonly deployment: DeploymentObject | undefined;
    },
  ): Promise<void> {
    const { index, informers, databases, applier, events, now } = this.#options;
    const key = keyOf(gateway);
    const database = databases.of(key);
    const policies = index.policiesOf(gateway);
    const before = gateway.status?.conditions ?? [];
    const { foreign, refused, deployment, problems, missing, signingKeys } = made;
    const pods = informers.pods.byIndex(BY_GATEWAY, key).flatMap((pod) => podFacts(pod) ?? []);
    await databases.setReadyPods(
      key,
      isNamedAfterPod(gateway) ? pods.filter(({ ready }) => ready).map(({ name }) => name) : [],
    );
    const facts: GatewayFacts = {
      gateway,
      problems,
      missing,
      foreign,
      refused,
      pods,
      deployment: deployment && deploymentFacts(deployment),
      database: {
        problem: databases.problemOf(key),
        revision: database?.revision,
        replicas: database?.replicas ?? [],
      },
      shared: this.#shared(gateway),
      spendPolicies: policies.spendPolicies.length,
      managedSettings: policies.managedSettings.length,
      signingKeys: signingKeys && {
        secretName: signingKeysName(gateway),
        rotatedAt: signingKeys.rotatedAt,
        rotatesAt: signingKeys.rotatesAt,
      },
      selector: selectorOf(gateway),
    };
    const status = gatewayStatus(facts, before, now());
    if ((await applier.applyStatus(CLAUDE_GATEWAYS, gateway, status)) !== 'changed') return;
    for (const event of transitions(CLAUDE_GATEWAYS.kind, before, status.conditions ?? []))
      events.record(CLAUDE_GATEWAYS, gateway, event);
  }

  /** What other gateways that are watched have, too: often a manifest that was copied. */
  #shared(gateway: ClaudeGateway): string[] {
    const { informers, databases } = this.#options;
    const key = keyOf(gateway);
    const { publicURL } = gateway.spec;
    const sameUrl = [...informers.gateways.list()]
      .filter((other) => other.spec.publicURL === publicURL && keyOf(other) !== key)
      .map(keyOf)
      .sort();
    const sameDatabase = databases
      .sharing(key)
      .filter((other) => other !== key)
      .toSorted();
    return [
      ...(sameUrl.length === 0
        ? []
        : [
            `${sameUrl.join(', ')} has the same spec.publicURL: one address leads to one gateway, so give each its own.`,
          ]),
      ...(sameDatabase.length === 0
        ? []
        : [
            `${sameDatabase.join(', ')} has the same database: policies, spending and sessions are shared. Give each a database of its own unless that is wanted.`,
          ]),
    ];
  }

  /**
   * Removes the rows that resources own in the database of a gateway that is gone, and leaves the database; children go by
   * themselves. Nobody waits for it: where the database does not answer, or nobody watched when the gateway went, the rows
   * stay until a gateway of the namespace has this database again.
   *
   * @throws StoreUnavailableError, Error as long as another try is worth it.
   */
  async #leave(key: string): Promise<void> {
    const { databases, syncRows, log, now } = this.#options;
    const since = this.#goneSince.get(key) ?? now().getTime();
    this.#goneSince.set(key, since);
    try {
      await syncRows(key);
    } catch (error) {
      if (now().getTime() - since < CLEARING_MS) throw error;
      log.warn(
        { gateway: key },
        `gateway ${key} is gone, and the rows of its policies stay in its database, which does not answer: ${(error as Error).message}`,
      );
    }
    this.#goneSince.delete(key);
    await databases.detach(key);
  }
}

/** Replicas call themselves by the name of their host, which podTemplate may make another than that of the pod. */
function isNamedAfterPod({ spec: { podTemplate } }: ClaudeGateway): boolean {
  const { hostNetwork, hostname } = (podTemplate?.spec ?? {}) as { hostNetwork?: boolean; hostname?: string };
  return hostNetwork !== true && hostname === undefined;
}

function targetOf({ store }: GatewayConfig): DatabaseTarget {
  const { postgres_url: url, username, password, connect_timeout_seconds } = store;
  return {
    url,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    connectTimeoutSeconds: connect_timeout_seconds,
  };
}

function eventOf(
  outcome: 'created' | 'changed' | 'deleted',
  { kind }: ResourceType,
  { metadata: { name } }: KubeObject,
  why?: string,
): EventInput {
  const [reason, action, done] = {
    created: ['Created', 'Create', 'Created'],
    changed: ['Updated', 'Update', 'Updated'],
    deleted: ['Deleted', 'Delete', 'Deleted'],
  }[outcome] as [string, string, string];
  const because = why === undefined || why.startsWith('metadata.annotations') ? '' : `: ${why} differed`;
  return { type: 'Normal', reason, action, note: `${done} ${kind} ${name}${because}` };
}

function deploymentFacts({ metadata, spec, status }: DeploymentObject): DeploymentFacts {
  return {
    desired: spec?.replicas ?? 1,
    replicas: status?.replicas ?? 0,
    readyReplicas: status?.readyReplicas ?? 0,
    updatedReplicas: status?.updatedReplicas ?? 0,
    availableReplicas: status?.availableReplicas ?? 0,
    generation: metadata.generation ?? 0,
    observedGeneration: status?.observedGeneration ?? 0,
    conditions: status?.conditions ?? [],
  };
}
