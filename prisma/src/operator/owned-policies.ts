import { SCHEMA } from '../connection.ts';
import type { TrailEntry } from '../ledger/limit-trail.ts';
import type { LimitOwner } from '../ledger/limit-types.ts';
import { documentHash, documentText } from '../managed/document.ts';
import { POLICY_COLUMNS, policyOwnerOf, type PolicyRow } from '../managed/policy-rows.ts';
import { storable } from '../storable.ts';
import { actorOf, chunksOf, sameOwner, type Plan, type Query } from './rows.ts';
import type { OwnedRows } from './types.ts';

/** Documents may be large: so many of them make one statement. */
const CHUNK = 50;

const READ = `SELECT ${POLICY_COLUMNS} FROM ${SCHEMA}.managed_policies WHERE owner_uid = ANY ($1::text[])`;

const DELETE = `
  DELETE FROM ${SCHEMA}.managed_policies p USING unnest($1::text[], $2::text[]) AS v (owner_uid, name)
   WHERE p.owner_uid = v.owner_uid AND p.name = v.name`;

const COLUMNS = [
  ...['owner_uid', 'owner_kind', 'owner_namespace', 'owner_name', 'name', 'priority', 'position'],
  ...['document', 'document_hash'],
];

/** Parameters: each column's values, now. The document goes as text, so that nothing is done to it on its way. */
const PUT = `
  INSERT INTO ${SCHEMA}.managed_policies (${COLUMNS.join(', ')}, updated_at)
  SELECT owner_uid, owner_kind, owner_namespace, owner_name, name, priority, position, document::json, document_hash, $10
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::integer[], $8::text[],
                $9::text[]) AS v (${COLUMNS.join(', ')})
  ON CONFLICT (owner_uid, name) DO UPDATE
     SET ${[...COLUMNS.slice(1), 'updated_at'].map((column) => `${column} = excluded.${column}`).join(', ')}`;

interface WantedPolicy {
  readonly owner: LimitOwner;
  readonly name: string;
  readonly priority: number;
  readonly position: number;
  /** JSON */
  readonly document: string;
  readonly documentHash: string;
}

export type WantedPolicies = ReadonlyMap<string, ReadonlyMap<string, WantedPolicy>>;

/** By uid of the owner. @throws Error when one of them has two policies of one name. */
export function wantedPolicies(changes: readonly OwnedRows[]): WantedPolicies {
  const wanted = new Map<string, ReadonlyMap<string, WantedPolicy>>();
  for (const { owner, policyName, managed } of changes) {
    if (managed === undefined) continue;
    const policies = new Map<string, WantedPolicy>();
    for (const { name: given, priority, position, document: content } of managed) {
      const name = storable(given);
      if (policies.has(name))
        throw new Error(`policy ${policyName} holds two managed policies called ${name}`);
      const document = documentText(content);
      policies.set(name, { owner, name, priority, position, document, documentHash: documentHash(document) });
    }
    wanted.set(owner.uid, policies);
  }
  return wanted;
}

/** As planLimits. */
export async function planPolicies(query: Query, wanted: WantedPolicies, now: Date): Promise<Plan> {
  const changed = new Set<string>();
  const trail: TrailEntry[] = [];
  const deleted: PolicyRow[] = [];
  const put: WantedPolicy[] = [];
  for (const uids of chunksOf([...wanted.keys()], CHUNK)) {
    const existing = Map.groupBy(await query<PolicyRow>(READ, [uids]), ({ owner_uid }) => owner_uid);
    for (const uid of uids) {
      const missing = new Map(wanted.get(uid));
      for (const row of existing.get(uid) ?? []) {
        const policy = missing.get(row.name);
        missing.delete(row.name);
        if (policy !== undefined && isSame(row, policy)) continue;
        if (policy === undefined) deleted.push(row);
        else put.push(policy);
        trail.push(changeOf(wantedOf(row), policy));
        changed.add(uid);
      }
      for (const policy of missing.values()) {
        put.push(policy);
        trail.push(changeOf(undefined, policy));
        changed.add(uid);
      }
    }
  }
  return {
    changed,
    trail,
    statements: [
      ...chunksOf(deleted).map((rows) => ({
        text: DELETE,
        values: [rows.map(({ owner_uid }) => owner_uid), rows.map(({ name }) => name)],
      })),
      ...chunksOf(put, CHUNK).map((policies) => ({ text: PUT, values: valuesOf(policies, now) })),
    ],
  };
}

function isSame(row: PolicyRow, policy: WantedPolicy): boolean {
  return (
    sameOwner(policyOwnerOf(row), policy.owner) &&
    row.priority === policy.priority &&
    row.position === policy.position &&
    row.document_hash === policy.documentHash &&
    row.document === policy.document
  );
}

function wantedOf(row: PolicyRow): WantedPolicy {
  const { name, priority, position, document, document_hash } = row;
  return { owner: policyOwnerOf(row), name, priority, position, document, documentHash: document_hash };
}

function changeOf(before: WantedPolicy | undefined, after: WantedPolicy | undefined): TrailEntry {
  const either = after ?? before;
  if (either === undefined) throw new TypeError('nothing has changed');
  const action = before === undefined ? 'create' : after === undefined ? 'delete' : 'update';
  return {
    actor: actorOf(either.owner),
    action: `managed_policy.${action}`,
    targetId: `${either.owner.uid}/${either.name}`,
    before: snapshotOf(before),
    after: snapshotOf(after),
    reason: null,
  };
}

/** Which document, and not what it says: it may be large, and the resource is kept elsewhere with its history. */
function snapshotOf(policy: WantedPolicy | undefined): string | null {
  if (policy === undefined) return null;
  const { owner, name, priority, position, documentHash: document_hash } = policy;
  return JSON.stringify({ owner, name, priority, position, document_hash });
}

function valuesOf(policies: readonly WantedPolicy[], now: Date): unknown[] {
  return [
    policies.map(({ owner }) => owner.uid),
    policies.map(({ owner }) => owner.kind),
    policies.map(({ owner }) => owner.namespace),
    policies.map(({ owner }) => owner.name),
    policies.map(({ name }) => name),
    policies.map(({ priority }) => priority),
    policies.map(({ position }) => position),
    policies.map(({ document }) => document),
    policies.map(({ documentHash: hash }) => hash),
    now,
  ];
}
