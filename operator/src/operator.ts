import { randomUUID } from 'node:crypto';
import { CLAUDE_GATEWAY, API_GROUP } from '@claude-gateway/crds';
import type { Store } from '@claude-gateway/prisma';
import type { DatabaseTarget } from './controllers/databases.ts';
import { Endpoints } from './endpoints.ts';
import type { OperatorEnvironment } from './environment.ts';
import { FIELD_MANAGER, HASH_ANNOTATION } from './kinds.ts';
import { Applier } from './kube/apply.ts';
import type { KubeClient } from './kube/client.ts';
import type { ControllerLog } from './kube/controller.ts';
import { reasonOrError } from './kube/errors.ts';
import { EventRecorder } from './kube/events.ts';
import { LeaderElector } from './kube/leader-election.ts';
import { createMetrics } from './metrics.ts';
import { Scope } from './scope.ts';

export interface OperatorOptions {
  readonly environment: Omit<OperatorEnvironment, 'inCluster' | 'logLevel'>;
  readonly client: KubeClient;
  readonly log: ControllerLog;
  /** Connects to the database of a gateway, and brings its schema up to date. */
  readonly openStore: (target: DatabaseTarget) => Promise<Store>;
  readonly now?: () => Date;
  /** How often databases are looked at when nothing happens, in ms. */
  readonly databaseInterval?: number;
}

/** Work under way gets this long when the operator stops, in ms. */
const GRACE_MS = 10_000;

/** One process of the operator: stands for election, and reconciles while it leads. */
export class Operator {
  /** Settles, with the reason, when it has lost the election: everything has stopped, and the process must end. */
  readonly lost: Promise<string>;
  readonly #options: OperatorOptions;
  readonly #metrics = createMetrics();
  readonly #events: EventRecorder;
  readonly #elector: LeaderElector | undefined;
  readonly #scopes: Scope[] = [];
  #endpoints: Endpoints | undefined;
  #leading = false;
  #stopped: Promise<void> | undefined;

  private constructor(options: OperatorOptions) {
    this.#options = options;
    const { client, environment, log } = options;
    const { podName, podNamespace, operatorName, leaderElection } = environment;
    this.#events = new EventRecorder({
      client,
      controller: `${API_GROUP}/operator`,
      instance: podName,
      onError: (error) => log.warn(reasonOrError(error), 'an event could not be written'),
    });
    const lost = Promise.withResolvers<string>();
    this.lost = lost.promise;
    this.#elector = leaderElection
      ? new LeaderElector({
          client,
          namespace: podNamespace,
          name: operatorName,
          identity: `${podName}_${randomUUID()}`,
          onElected: () => this.#lead(),
          onLost: (reason) => {
            log.error({ reason }, 'the operator leads no more, and ends');
            void this.#stopWork(0).then(() => lost.resolve(reason));
          },
          onLeader: (identity) =>
            log.info({ leader: identity }, identity === '' ? 'nobody leads' : `${identity} leads`),
          onError: (error) => log.warn(reasonOrError(error), 'the Lease could not be read or written'),
        })
      : undefined;
  }

  /** @throws Error when a port is taken. */
  static async start(options: OperatorOptions): Promise<Operator> {
    const operator = new Operator(options);
    const { healthPort, metricsPort } = options.environment;
    operator.#endpoints = await Endpoints.start({
      healthPort,
      metricsPort,
      alive: () => undefined,
      ready: () => operator.#readiness(),
      registry: operator.#metrics.registry,
    });
    operator.#metrics.observe({
      queues: () => operator.#scopes.flatMap((scope) => [...scope.queues()]),
      caches: () => operator.#scopes.flatMap((scope) => [...scope.caches()]),
      leading: () => operator.#leading,
    });
    if (operator.#elector === undefined) operator.#lead();
    else operator.#elector.start();
    return operator;
  }

  /** Where the probes answer. */
  get healthPort(): number {
    return this.#endpoints?.healthPort ?? 0;
  }

  get metricsPort(): number {
    return this.#endpoints?.metricsPort ?? 0;
  }

  /** Whether this process leads and its caches are complete. */
  get reconciling(): boolean {
    return this.#leading && this.#scopes.every(({ synced }) => synced);
  }

  /** Ends the work under way, writes what is to be told, and lets another one lead. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    await this.#stopWork(GRACE_MS);
    await this.#events.stop();
    await this.#elector?.stop();
    await this.#endpoints?.stop();
  }

  /** Those that stand by are ready: they take over when they must. */
  #readiness(): string | undefined {
    if (!this.#leading || this.reconciling) return undefined;
    return `the caches are not complete yet: are the definitions of ${CLAUDE_GATEWAY.plural}.${API_GROUP} and the other kinds installed, and may they be listed? The log says more`;
  }

  #lead(): void {
    const { environment, client, log, openStore, now, databaseInterval } = this.#options;
    const { watchNamespaces, gatewayImage, podNamespace, operatorName } = environment;
    this.#leading = true;
    const applier = new Applier({ client, fieldManager: FIELD_MANAGER, hashAnnotation: HASH_ANNOTATION });
    const namespaces = watchNamespaces.length === 0 ? [undefined] : watchNamespaces;
    for (const namespace of namespaces) {
      const scope = new Scope({
        namespace,
        identity: `${podNamespace}/${operatorName}`,
        client,
        applier,
        events: this.#events,
        log,
        metrics: this.#metrics,
        defaultImage: gatewayImage,
        openStore,
        databaseInterval,
        ...(now && { now }),
      });
      this.#scopes.push(scope);
      void scope.start();
    }
    log.info(
      { namespaces: watchNamespaces },
      `reconciles ${namespaces[0] === undefined ? 'all namespaces' : watchNamespaces.join(', ')}`,
    );
  }

  async #stopWork(grace: number): Promise<void> {
    await Promise.all(this.#scopes.splice(0).map((scope) => scope.stop(grace)));
    this.#leading = false;
  }
}
