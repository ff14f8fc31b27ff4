import type { LimitOwner } from '../ledger/limit-types.ts';
import type { ManagedPolicyRow } from './types.ts';

/** A row of managed_policies, as pg reads it with {@link POLICY_COLUMNS}. */
export interface PolicyRow {
  readonly owner_uid: string;
  readonly owner_kind: string;
  readonly owner_namespace: string;
  readonly owner_name: string;
  readonly name: string;
  readonly priority: number;
  readonly position: number;
  /** JSON */
  readonly document: string;
  readonly document_hash: string;
}

export const POLICY_COLUMNS = `owner_uid, owner_kind, owner_namespace, owner_name, name, priority, position,
  document::text, document_hash`;

export function policyOf(row: PolicyRow): ManagedPolicyRow {
  return {
    owner: policyOwnerOf(row),
    name: row.name,
    priority: row.priority,
    position: row.position,
    document: JSON.parse(row.document) as unknown,
    documentHash: row.document_hash,
  };
}

export function policyOwnerOf(row: PolicyRow): LimitOwner {
  return {
    kind: row.owner_kind,
    namespace: row.owner_namespace,
    name: row.owner_name,
    uid: row.owner_uid,
  };
}
