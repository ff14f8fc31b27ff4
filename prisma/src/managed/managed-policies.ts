import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { onPolicyChange, readRevision, REVISION } from '../ledger/policy-revision.ts';
import type { Notifications } from '../notifications.ts';
import { POLICY_COLUMNS, policyOf, type PolicyRow } from './policy-rows.ts';
import type { ManagedPolicySet, ManagedPolicyStore } from './types.ts';

/** One row for each policy, or one without a policy: revision and policies are of one moment. Bytewise, everywhere alike. */
const READ_ALL = `
  SELECT ${REVISION} AS revision, p.*
    FROM (SELECT) one LEFT JOIN (SELECT ${POLICY_COLUMNS} FROM ${SCHEMA}.managed_policies) p ON true
   ORDER BY p.priority DESC, p.owner_name COLLATE "C", p.position, p.owner_uid COLLATE "C", p.name COLLATE "C"`;

export class PostgresManagedPolicyStore implements ManagedPolicyStore {
  readonly #database: Database;
  readonly #notifications: Pick<Notifications, 'listen'>;

  constructor(database: Database, notifications: Pick<Notifications, 'listen'>) {
    this.#database = database;
    this.#notifications = notifications;
  }

  async readAll(): Promise<ManagedPolicySet> {
    const rows = await this.#database.query<{ revision: string } & (PolicyRow | { name: null })>(READ_ALL);
    const policies = rows.filter((row): row is { revision: string } & PolicyRow => row.name !== null);
    return { revision: BigInt(rows[0]?.revision ?? 0), policies: policies.map(policyOf) };
  }

  revision(): Promise<bigint> {
    return readRevision(this.#database);
  }

  onChange(listener: () => void): () => void {
    return onPolicyChange(this.#notifications, listener);
  }
}
