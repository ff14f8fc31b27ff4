import type { Condition } from '@claude-gateway/crds';
import type { Applier } from '../../kube/apply.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { EventRecorder } from '../../kube/events.ts';
import { addFinalizer, removeFinalizer } from '../../kube/finalizers.ts';
import type { Informer } from '../../kube/informer.ts';
import { keyOf } from '../../kube/objects.ts';
import { ROWS_FINALIZER } from '../../kinds.ts';
import { transitions } from '../../status/transitions.ts';
import type { Databases } from '../databases.ts';
import type { PolicyResource } from './compiled.ts';
import { gather, type Gathered } from './gather.ts';
import type { PolicyIndex } from './policy-index.ts';

/** A status document with the parts that both kinds have. */
type Status = NonNullable<PolicyResource['status']>;

export interface PolicyReconcilerOptions<T extends PolicyResource> {
  readonly informer: Informer<T>;
  readonly index: PolicyIndex;
  readonly databases: Databases;
  readonly client: KubeClient;
  readonly applier: Applier;
  readonly events: EventRecorder;
  /** The status of this kind. */
  readonly statusOf: (facts: Gathered<T>, before: readonly Condition[], now: Date) => Status;
  readonly now: () => Date;
}

/**
 * Says in a policy's status what became of it, and lets it go when its rows are gone. The rows themselves are written gateway
 * by gateway (see RowsReconciler).
 */
export class PolicyReconciler<T extends PolicyResource> {
  readonly #options: PolicyReconcilerOptions<T>;

  constructor(options: PolicyReconcilerOptions<T>) {
    this.#options = options;
  }

  async reconcile(key: string): Promise<void> {
    const { informer, index, databases, client, applier, events, statusOf, now } = this.#options;
    const { type } = informer;
    const cached = informer.get(key);
    if (cached === undefined) return;
    if (cached.metadata.deletionTimestamp !== undefined) return this.#letGo(cached);
    if (cached.metadata.finalizers?.includes(ROWS_FINALIZER) !== true) {
      await addFinalizer(client, type, cached, ROWS_FINALIZER);
      // The cache hears of it, and then the rest is done with what the server has.
      return;
    }

    // After a start, a status made from half of the facts would be written, and then taken back.
    const { selected } = index.selection(cached);
    const live = selected.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    if (!live.every((gateway) => databases.isKnown(keyOf(gateway)))) return;

    const policy = applier.withLatestStatus(cached);
    const before = policy.status?.conditions ?? [];
    const status = statusOf(gather(policy, index, databases), before, now());
    if ((await applier.applyStatus(type, cached, status)) !== 'changed') return;
    for (const event of transitions(type.kind, before, status.conditions ?? []))
      events.record(type, cached, event);
  }

  async #letGo(policy: T): Promise<void> {
    const { index, databases, client, informer, events } = this.#options;
    const { uid = '' } = policy.metadata;
    const { selected } = index.selection(policy);
    const holding = selected.filter((gateway) => {
      // With the gateway go all rows of its database.
      if (gateway.metadata.deletionTimestamp !== undefined) return false;
      return databases.of(keyOf(gateway))?.has(uid) !== false;
    });
    for (const gateway of holding) {
      const problem = databases.problemOf(keyOf(gateway));
      if (problem === undefined) continue;
      const note = `It is kept until the database of gateway ${gateway.metadata.name} can be cleared of it: ${problem}`;
      events.record(informer.type, policy, { type: 'Warning', reason: 'RowsRemain', action: 'Delete', note });
    }
    if (holding.length > 0) return;
    await removeFinalizer(client, informer.type, policy, ROWS_FINALIZER);
  }
}
