import type { PolicyRow } from '../policy-rows.ts';

let rows = 0;

/** A policy of a resource. Every call makes another resource, unless it is given one. */
export function row(
  document: unknown,
  changes: Partial<PolicyRow> & { readonly owned?: string } = {},
): PolicyRow {
  const { owned = `settings-${String(rows++).padStart(6, '0')}`, ...rest } = changes;
  return {
    owner: { kind: 'ManagedSettings', namespace: 'claude', name: owned, uid: `uid-of-${owned}` },
    name: owned,
    priority: 0,
    position: 0,
    document,
    documentHash: `hash-of-${JSON.stringify(document)}`,
    ...rest,
  };
}
