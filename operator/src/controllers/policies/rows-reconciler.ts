import type { ClaudeGateway } from '@claude-gateway/crds';
import type { Databases } from '../databases.ts';
import { compilePolicy, type CompiledPolicy } from './compiled.ts';
import type { Cache, PolicyIndex } from './policy-index.ts';

export interface RowsReconcilerOptions {
  readonly gateways: Cache<ClaudeGateway>;
  readonly index: PolicyIndex;
  readonly databases: Databases;
}

/**
 * Makes the rows in a gateway's database what the policies for it say: those of all gateways that share the database, as one set.
 */
export class RowsReconciler {
  readonly #options: RowsReconcilerOptions;

  constructor(options: RowsReconcilerOptions) {
    this.#options = options;
  }

  /** @throws StoreUnavailableError */
  async reconcile(key: string): Promise<void> {
    const { gateways, index, databases } = this.#options;
    const database = databases.of(key);
    if (database === undefined) return;
    const policies = new Map<string, CompiledPolicy>();
    const namespaces = new Set<string>();
    for (const sharing of databases.sharing(key)) {
      namespaces.add(sharing.slice(0, sharing.indexOf('/')));
      const gateway = gateways.get(sharing);
      if (gateway === undefined || gateway.metadata.deletionTimestamp !== undefined) continue;
      const { spendPolicies, managedSettings } = index.policiesOf(gateway);
      for (const policy of [...spendPolicies, ...managedSettings]) {
        const { uid = '', deletionTimestamp } = policy.metadata;
        if (deletionTimestamp === undefined) policies.set(uid, compilePolicy(policy));
      }
    }
    await database.sync({ policies, namespaces });
  }
}
