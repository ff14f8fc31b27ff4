import type { Condition } from '@claude-gateway/crds';
import type { Applier } from '../../kube/apply.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { EventRecorder } from '../../kube/events.ts';
import { removeFinalizer } from '../../kube/finalizers.ts';
import type { Informer } from '../../kube/informer.ts';
import { keyOf } from '../../kube/objects.ts';
import { FORMER_FINALIZER } from '../../kinds.ts';
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
 * Says in a policy's status what became of it. The rows themselves are written, and removed when it is gone, gateway by gateway
 * (see RowsReconciler).
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
    await removeFinalizer(client, type, cached, FORMER_FINALIZER);
    if (cached.metadata.deletionTimestamp !== undefined) return;

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
}
