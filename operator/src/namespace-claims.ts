import type { KubeClient } from './kube/client.ts';
import type { ControllerLog } from './kube/controller.ts';
import { isKubeError, reasonOrError } from './kube/errors.ts';
import { LeaderElector } from './kube/leader-election.ts';

/** In each namespace with resources of ours; the chart's roles name it. */
export const CLAIM_NAME = 'claudegateway-namespace';

export interface NamespaceClaimsOptions {
  readonly client: KubeClient;
  /**
   * `namespace/name` of this operator: the same for all its replicas, of which one leads, so that its claims outlive a
   * change of leader and a rolling update.
   */
  readonly identity: string;
  readonly log: ControllerLog;
  /** Whether a namespace has resources of ours. */
  readonly isOccupied: (namespace: string) => boolean;
  /** Whether this operator may work there, or which other one does, has changed. */
  readonly onChange: (namespace: string) => void;
}

interface Claim {
  elector: LeaderElector;
  /** The other operator that works there. */
  holder: string | undefined;
  /** No Lease may be written there: better to work without a claim than not at all. */
  refused: boolean;
  /** Had no resources when it was last looked at. */
  idle: boolean;
}

/**
 * A renewal each ten seconds, as of the Lease of a node, since there may be hundreds. Another operator takes over at most
 * 42 seconds after the last renewal. In ms.
 */
const TIMES = { leaseDuration: 30_000, renewDeadline: 20_000, retryPeriod: 10_000 };
/** How often claims of empty namespaces are looked for, and how often errors are told, in ms. */
const SWEEP_MS = 120_000;
const TELL_ERRORS_MS = 60_000;

/** Of several operators that watch a namespace, one works there: the holder of a Lease in it. */
export class NamespaceClaims {
  readonly #options: NamespaceClaimsOptions;
  readonly #claims = new Map<string, Claim>();
  readonly #sweeper: NodeJS.Timeout;
  #toldAt = -Infinity;
  #stopped = false;

  constructor(options: NamespaceClaimsOptions) {
    this.#options = options;
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** Whether this operator may work in a namespace now. Where that is not known yet it asks, and tells `onChange`. */
  holds(namespace: string): boolean {
    const claim = this.#claims.get(namespace) ?? this.#begin(namespace);
    return claim !== undefined && (claim.elector.leading || claim.refused);
  }

  /** For people, with the remedy: why this operator stands back; undefined when no other one is known to work there. */
  standsBack(namespace: string): string | undefined {
    const holder = this.#claims.get(namespace)?.holder;
    if (holder === undefined) return undefined;
    return (
      `operator ${holder} works in namespace ${namespace} and holds its Lease ${CLAIM_NAME}, so operator ${this.#options.identity} ` +
      'stands back there and takes over when the other one is gone. Let one operator watch each namespace: set scope and ' +
      'watchNamespaces of the two Helm releases so that they do not overlap, or uninstall one'
    );
  }

  /** Gives nothing back: another replica of this operator goes on at once, and another operator when the Leases run out. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#sweeper);
    const claims = [...this.#claims.values()];
    this.#claims.clear();
    await Promise.all(claims.map(({ elector }) => elector.stop()));
  }

  #begin(namespace: string): Claim | undefined {
    if (this.#stopped) return undefined;
    const elector = this.#elector(namespace);
    const claim: Claim = { elector, holder: undefined, refused: false, idle: false };
    this.#claims.set(namespace, claim);
    elector.start();
    return claim;
  }

  #elector(namespace: string): LeaderElector {
    const { client, identity, log, onChange } = this.#options;
    const elector: LeaderElector = new LeaderElector({
      client,
      namespace,
      name: CLAIM_NAME,
      identity,
      ...TIMES,
      releaseOnStop: false,
      onElected: () => {
        const claim = current();
        if (claim === undefined) return;
        if (claim.holder !== undefined)
          log.info(
            { namespace, before: claim.holder },
            `takes over namespace ${namespace}: operator ${claim.holder} is gone`,
          );
        claim.holder = undefined;
        claim.refused = false;
        onChange(namespace);
      },
      onLeader: (holder) => {
        const claim = current();
        if (claim === undefined || holder === '' || holder === identity || holder === claim.holder) return;
        claim.holder = holder;
        claim.refused = false;
        log.warn({ namespace, holder }, this.standsBack(namespace) ?? '');
        onChange(namespace);
      },
      onLost: (reason) => {
        const claim = current();
        if (claim === undefined || this.#stopped) return;
        log.warn({ namespace, reason }, `works in namespace ${namespace} no more: ${reason}`);
        claim.elector = this.#elector(namespace);
        claim.elector.start();
      },
      onError: (error) => this.#failed(namespace, current(), error),
    });
    const current = (): Claim | undefined => {
      const claim = this.#claims.get(namespace);
      return claim?.elector === elector ? claim : undefined;
    };
    return elector;
  }

  #failed(namespace: string, claim: Claim | undefined, error: unknown): void {
    const { log, isOccupied, onChange } = this.#options;
    if (claim === undefined || !isOccupied(namespace)) return;
    // A role that is older than this version, a quota, an admission policy, or a namespace that is being deleted.
    const isRefusal = (['forbidden', 'invalid', 'other'] as const).some((kind) => isKubeError(error, kind));
    if (isRefusal && claim.holder === undefined) {
      if (claim.refused) return;
      claim.refused = true;
      log.warn(
        { namespace, ...reasonOrError(error) },
        `works in namespace ${namespace} without a claim, so that nothing keeps another operator from doing the same: ${(error as Error).message}`,
      );
      onChange(namespace);
      return;
    }
    if (performance.now() - this.#toldAt < TELL_ERRORS_MS) return;
    this.#toldAt = performance.now();
    log.warn(
      { namespace, ...reasonOrError(error) },
      `the Lease ${CLAIM_NAME} of namespace ${namespace} could not be read or written`,
    );
  }

  /** Not at the first sight of an empty namespace: what was deleted is yet to be cleared from databases. */
  #sweep(): void {
    for (const [namespace, claim] of this.#claims) {
      const wasIdle = claim.idle;
      claim.idle = !this.#options.isOccupied(namespace);
      if (!wasIdle || !claim.idle) continue;
      this.#claims.delete(namespace);
      void claim.elector.stop();
    }
  }
}
