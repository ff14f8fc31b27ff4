import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { SCHEMA } from '../connection.ts';
import { COLUMNS, keyValues, limitOf, settingValues, type LimitRow } from '../ledger/limit-rows.ts';
import { limitChange, type TrailEntry } from '../ledger/limit-trail.ts';
import type { LimitContent, LimitScope, SpendLimit } from '../ledger/limit-types.ts';
import { scopeNameOf } from '../ledger/limit-version.ts';
import { storable } from '../storable.ts';
import { actorOf, chunksOf, sameOwner, type Plan, type Query } from './rows.ts';
import type { OwnedRows } from './types.ts';

const READ = `SELECT ${COLUMNS} FROM ${SCHEMA}.spend_limits WHERE owner_uid = ANY ($1::text[])`;

const DELETE = `DELETE FROM ${SCHEMA}.spend_limits WHERE id = ANY ($1::text[])`;

const VALUES = `json_to_recordset($1::json) AS v (
    n integer, id text, scope_type ${SCHEMA}.limit_scope_type, scope_name text, period ${SCHEMA}.budget_period,
    unit ${SCHEMA}.budget_unit, sharing ${SCHEMA}.limit_sharing, amount bigint, mode ${SCHEMA}.enforcement_mode,
    when_short ${SCHEMA}.when_short, failure_policy ${SCHEMA}.failure_policy, time_zone text,
    warn_at_percent integer[], blocked_message text, policy_name text, owner_kind text, owner_namespace text,
    owner_name text, owner_uid text)`;

const KEY = 'scope_type, scope_name, period, unit, sharing, owner_uid';
const SETTINGS = [
  ...['amount', 'mode', 'when_short', 'failure_policy', 'time_zone', 'warn_at_percent', 'blocked_message'],
  ...['policy_name', 'owner_kind', 'owner_namespace', 'owner_name'],
];

/** Parameters: limits as JSON, now. `sequence` follows their order. */
const INSERT = `
  INSERT INTO ${SCHEMA}.spend_limits (id, ${KEY}, ${SETTINGS.join(', ')}, created_at, updated_at)
  SELECT id, ${KEY}, ${SETTINGS.join(', ')}, $2::timestamptz, $2::timestamptz FROM ${VALUES} ORDER BY n`;

/** As INSERT. */
const UPDATE = `
  UPDATE ${SCHEMA}.spend_limits l SET ${SETTINGS.map((column) => `${column} = v.${column}`).join(', ')}, updated_at = $2
    FROM ${VALUES} WHERE l.id = v.id`;

export type WantedLimits = ReadonlyMap<string, { readonly rows: OwnedRows; readonly limits: KeyedLimits }>;
type KeyedLimits = ReadonlyMap<string, LimitContent>;

/** By uid of the owner. @throws Error when one of them has two limits of one key. */
export function wantedLimits(changes: readonly OwnedRows[]): WantedLimits {
  const wanted = new Map<string, { rows: OwnedRows; limits: KeyedLimits }>();
  for (const rows of changes) {
    if (rows.limits === undefined) continue;
    const limits = new Map<string, LimitContent>();
    for (const limit of rows.limits) {
      const content = storableContent(limit);
      const key = JSON.stringify(keyValues(content));
      if (limits.has(key)) {
        throw new Error(`policy ${rows.policyName} holds two limits for ${keyValues(content).join(' ')}`);
      }
      limits.set(key, content);
    }
    wanted.set(rows.owner.uid, { rows, limits });
  }
  return wanted;
}

/** Compares with the rows as they are now: whatever differs by a hair, or was made by hand, is put right. */
export async function planLimits(query: Query, wanted: WantedLimits, now: Date): Promise<Plan> {
  const changed = new Set<string>();
  const trail: TrailEntry[] = [];
  const deleted: string[] = [];
  const inserted: SpendLimit[] = [];
  const updated: SpendLimit[] = [];
  for (const uids of chunksOf([...wanted.keys()])) {
    const rows = await query<LimitRow>(READ, [uids]);
    const existing = Map.groupBy(rows, ({ owner_uid }) => owner_uid);
    for (const uid of uids) {
      const owned = wanted.get(uid);
      if (owned === undefined) continue;
      const { owner, policyName } = owned.rows;
      const missing = new Map(owned.limits);
      const note = (before: SpendLimit | null, after: SpendLimit | null): void => {
        trail.push(limitChange({ actor: actorOf(owner), before, after, reason: null }));
        changed.add(uid);
      };
      for (const row of existing.get(uid) ?? []) {
        const before = limitOf(row);
        const key = rawKeyOf(row);
        const content = missing.get(key);
        missing.delete(key);
        if (content === undefined) {
          deleted.push(row.id);
          note(before, null);
        } else if (!isSame(before, content, owned.rows)) {
          const after = { ...before, ...content, owner, policyName, updatedAt: now };
          updated.push(after);
          note(before, after);
        }
      }
      for (const content of missing.values()) {
        const id = `spl_${randomUUID().replaceAll('-', '')}`;
        const after = { id, ...content, owner, policyName, createdAt: now, updatedAt: now };
        inserted.push(after);
        note(null, after);
      }
    }
  }
  return {
    changed,
    trail,
    statements: [
      ...chunksOf(deleted).map((ids) => ({ text: DELETE, values: [ids] })),
      ...chunksOf(updated).map((limits) => ({ text: UPDATE, values: [valuesOf(limits), now] })),
      ...chunksOf(inserted).map((limits) => ({ text: INSERT, values: [valuesOf(limits), now] })),
    ],
  };
}

/** As the columns say it: a name that was edited by hand into other letters is another one. */
function rawKeyOf(row: LimitRow): string {
  return JSON.stringify([row.scope_type, row.scope_name, row.period, row.unit, row.sharing]);
}

function isSame(limit: SpendLimit, content: LimitContent, { owner, policyName }: OwnedRows): boolean {
  return (
    limit.policyName === policyName &&
    limit.owner !== null &&
    sameOwner(limit.owner, owner) &&
    isDeepStrictEqual(settingValues(limit), settingValues(content))
  );
}

function storableContent(content: LimitContent): LimitContent {
  const { period, unit, sharing, amount, mode, whenShort, failurePolicy, warnAtPercent } = content;
  return {
    scope: storableScope(content.scope),
    ...{ period, unit, sharing, amount, mode, whenShort, failurePolicy, warnAtPercent },
    timeZone: storable(content.timeZone),
    blockedMessage: content.blockedMessage === null ? null : storable(content.blockedMessage),
  };
}

function storableScope(scope: LimitScope): LimitScope {
  const name = storable(scopeNameOf(scope));
  switch (scope.type) {
    case 'organization':
      return scope;
    case 'rbac_group':
      return { type: scope.type, group: name };
    case 'user':
      return { type: scope.type, user: name };
  }
}

function valuesOf(limits: readonly SpendLimit[]): string {
  return JSON.stringify(
    limits.map((limit, n) => {
      const [scope_type, scope_name, period, unit, sharing] = keyValues(limit);
      return {
        ...{ n, id: limit.id, scope_type, scope_name, period, unit, sharing },
        amount: limit.amount?.toString() ?? null,
        mode: limit.mode,
        when_short: limit.whenShort,
        failure_policy: limit.failurePolicy,
        time_zone: limit.timeZone,
        warn_at_percent: limit.warnAtPercent,
        blocked_message: limit.blockedMessage,
        policy_name: limit.policyName,
        owner_kind: limit.owner?.kind,
        owner_namespace: limit.owner?.namespace,
        owner_name: limit.owner?.name,
        owner_uid: limit.owner?.uid,
      };
    }),
  );
}
